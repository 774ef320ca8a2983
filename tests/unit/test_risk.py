"""The limits: what each passes, clamps and refuses, with its numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.accounting import liquidation_price, stop_price
from domain.errors import InvalidValue
from domain.market import Bars
from domain.trading import Account, Action, Intent, MarketView, Position, Result, Side
from risk import RISK_DEFAULTS, active_limits, build_rules, describe, parse_risk
from risk.limits import (
    DefaultStopLoss,
    DefaultTakeProfit,
    MaxDailyLoss,
    MaxDailyTrades,
    MaxGrossExposure,
    MaxLeverage,
    MaxOpenPositions,
    MaxPositionSize,
    MinConfidence,
    PoolMembership,
    StopBeforeLiquidation,
)

ALL_OFF = dict.fromkeys(RISK_DEFAULTS, 0)


def position(coin: str, margin: float = 1000.0, leverage: float = 1.0, side: Side = Side.LONG) -> Position:
    return Position(coin, side, margin * leverage / 100, 100.0, margin, 0, last_price=100.0)


def view(*positions: Position, cash: float | None = None, capital: float = 10_000.0, **changes: object) -> MarketView:
    held = {p.coin: p for p in positions}
    free = capital - sum(p.margin for p in positions) if cash is None else cash
    one = np.array([100.0])
    bars = Bars(np.array([0]), one, one, one, one, one)
    coins = ("BTC", "ETH", "SOL", "XRP")
    made = MarketView(86_400_000, "1h", coins, dict.fromkeys(coins, bars), Account(free, capital, held))
    return replace(made, **changes)


def buy(coin: str = "BTC", size: float = 10.0, leverage: float = 1.0, **changes: object) -> Intent:
    made = Intent(coin, Action.LONG, "c" * 32, position_size_percent=size, leverage=leverage)
    return replace(made, **changes)


def sell(coin: str = "BTC", size: float = 10.0, **changes: object) -> Intent:
    return replace(buy(coin, size), action=Action.SHORT, **changes)


def numbers(verdict: object) -> tuple[object, object, object]:
    return verdict.result, verdict.asked, verdict.allowed  # type: ignore[attr-defined]


# -- single limits ------------------------------------------------------------------------


def test_a_position_that_fits_passes_with_its_numbers() -> None:
    verdict = MaxPositionSize(20).check(buy(size=20), view())
    assert numbers(verdict) == (Result.PASS, 20, 20)
    assert verdict.adjusted is None


def test_a_position_that_is_too_large_is_clamped() -> None:
    verdict = MaxPositionSize(20).check(buy(size=40), view())
    assert numbers(verdict) == (Result.CLAMP, 40, 20)
    assert verdict.adjusted is not None
    assert verdict.adjusted.position_size_percent == 20
    assert verdict.reason == "position size: asked 40 %, allowed 20 %"


def test_what_is_held_already_counts_towards_the_size() -> None:
    held = view(position("BTC", margin=1500))
    verdict = MaxPositionSize(20).check(buy(size=10), held)
    assert verdict.result is Result.CLAMP
    assert verdict.adjusted is not None
    assert verdict.adjusted.position_size_percent == pytest.approx(5)
    full = MaxPositionSize(20).check(buy(size=10), view(position("BTC", margin=2000)))
    assert full.result is Result.REFUSE
    assert full.adjusted is None


def test_a_reversal_is_sized_without_what_it_closes() -> None:
    verdict = MaxPositionSize(20).check(sell(size=20), view(position("BTC", margin=2000)))
    assert verdict.result is Result.PASS


def test_leverage_is_clamped() -> None:
    verdict = MaxLeverage(20).check(buy(leverage=50), view())
    assert numbers(verdict) == (Result.CLAMP, 50, 20)
    assert verdict.adjusted is not None
    assert verdict.adjusted.leverage == 20


@given(
    leverage=st.floats(1, 200),
    stop=st.floats(0.1, 90),
    rate=st.floats(0.001, 0.1),
    side=st.sampled_from([Side.LONG, Side.SHORT]),
)
def test_the_stop_always_lies_nearer_than_liquidation(leverage: float, stop: float, rate: float, side: Side) -> None:
    action = Action.LONG if side is Side.LONG else Action.SHORT
    intent = replace(buy(leverage=leverage), action=action, stop_loss_percent=stop)
    verdict = StopBeforeLiquidation(0.0, (("BTC", rate),)).check(intent, view())
    used = intent if verdict.adjusted is None else verdict.adjusted
    entry, margin = 100.0, 1000.0
    quantity = margin * used.leverage / entry
    liquidation = liquidation_price(side.sign, entry, quantity, margin, rate)
    level = stop_price(side.sign, entry, stop)
    assert side.sign * (level - liquidation) > 0
    assert used.leverage <= leverage


def test_leverage_that_leaves_room_for_the_stop_stays() -> None:
    verdict = StopBeforeLiquidation(5.0).check(buy(leverage=10), view())
    assert verdict.result is Result.PASS
    assert verdict.asked == 10


def test_a_fourth_position_is_refused_and_an_addition_is_not() -> None:
    three = view(position("BTC"), position("ETH"), position("SOL"))
    verdict = MaxOpenPositions(3).check(buy("XRP"), three)
    assert numbers(verdict) == (Result.REFUSE, 4, 3)
    assert MaxOpenPositions(3).check(buy("ETH"), three).result is Result.PASS
    assert MaxOpenPositions(3).check(sell("ETH"), three).result is Result.PASS


def test_gross_exposure_is_clamped_to_what_is_left_and_refused_where_nothing_is() -> None:
    # 2 x 1000 x 10 = 20,000 of notional on 10,000 of equity: 200 % are used.
    held = view(position("ETH", leverage=10), position("SOL", leverage=10))
    verdict = MaxGrossExposure(300).check(buy(size=20, leverage=10), held)
    assert numbers(verdict) == (Result.CLAMP, 400, 300)
    assert verdict.adjusted is not None
    assert verdict.adjusted.position_size_percent == pytest.approx(10)
    full = view(position("ETH", leverage=10), position("SOL", leverage=20))
    assert MaxGrossExposure(300).check(buy(size=20, leverage=10), full).result is Result.REFUSE
    assert MaxGrossExposure(300).check(buy(size=20), view(capital=0.0)).result is Result.REFUSE


def test_gross_exposure_forgets_the_side_that_a_reversal_closes() -> None:
    held = view(position("BTC", leverage=30))
    assert MaxGrossExposure(300).check(sell(size=20), held).result is Result.PASS


def test_confidence_below_the_limit_or_unsaid_is_refused() -> None:
    rule = MinConfidence(60)
    assert numbers(rule.check(buy(confidence=60.0), view())) == (Result.PASS, 60, 60)
    assert numbers(rule.check(buy(confidence=59.0), view())) == (Result.REFUSE, 59, 60)
    assert numbers(rule.check(buy(), view())) == (Result.REFUSE, None, 60)


def test_the_opens_of_a_day_are_counted() -> None:
    rule = MaxDailyTrades(50)
    assert numbers(rule.check(buy(), view(opens_today=49))) == (Result.PASS, 50, 50)
    assert numbers(rule.check(buy(), view(opens_today=50))) == (Result.REFUSE, 51, 50)


def test_a_days_loss_stops_opens_also_when_it_recovers() -> None:
    rule = MaxDailyLoss(10)
    # Unrealised loss counts: 8,900 of equity after a start of 10,000.
    lost = view(replace(position("ETH", margin=2000), last_price=45.0), day_start_equity=10_000.0)
    assert numbers(rule.check(buy(), lost)) == (Result.REFUSE, 11, 10)
    assert rule.check(buy(), view(day_start_equity=10_000.0)).result is Result.PASS
    recovered = view(day_start_equity=10_000.0, extras={"day_low_equity": 9_000.0})
    assert numbers(rule.check(buy(), recovered)) == (Result.REFUSE, 10, 10)
    assert rule.check(buy(), view(day_start_equity=None)).result is Result.PASS


def test_stop_and_target_are_set_where_none_is_given() -> None:
    stop = DefaultStopLoss(5).check(buy(), view())
    assert stop.adjusted is not None
    assert numbers(stop) == (Result.CLAMP, None, 5)
    assert stop.adjusted.stop_loss_percent == 5
    assert DefaultStopLoss(5).check(buy(stop_loss_percent=8.0), view()).adjusted is None
    target = DefaultTakeProfit(10).check(buy(), view())
    assert target.adjusted is not None
    assert target.adjusted.take_profit_percent == 10


def test_only_coins_of_the_pool_with_a_weight_are_opened() -> None:
    rule = PoolMembership()
    assert rule.check(buy("BTC"), view()).result is Result.PASS
    assert rule.check(buy("DOGE"), view()).result is Result.REFUSE
    assert rule.check(buy("BTC", size=0.0), view()).result is Result.REFUSE


# -- reductions ---------------------------------------------------------------------------

STRICT = {"max_position_size_percent": 0.001, "max_leverage": 1, "max_open_positions": 1, "min_confidence": 100,
          "max_gross_exposure_percent": 0.001, "max_daily_trades": 1, "max_daily_loss_percent": 0.001}  # fmt: skip


@pytest.mark.parametrize("coin", ["BTC", "DOGE"])
def test_nothing_refuses_a_close(coin: str) -> None:
    worst = view(position("BTC"), position("DOGE"), opens_today=99, day_start_equity=1e9)
    for rule in build_rules(STRICT, "llm"):
        verdict = rule.check(Intent(coin, Action.CLOSE, "c" * 32), worst)
        assert verdict.result is Result.PASS
        assert verdict.adjusted is None


def test_a_refused_reversal_still_closes() -> None:
    held = view(position("BTC"), opens_today=50)
    verdict = MaxDailyTrades(50).check(sell("BTC", size=20, stop_loss_percent=3.0), held)
    assert verdict.result is Result.REFUSE
    assert verdict.adjusted == Intent("BTC", Action.CLOSE, "c" * 32)
    assert "still closed" in verdict.reason


# -- the list -----------------------------------------------------------------------------


def names(risk: dict[str, float], kind: str) -> list[str]:
    return [rule.name for rule in build_rules(risk, kind)]


def test_rules_come_in_the_contracts_order() -> None:
    assert names({}, "llm") == [
        "coin_pool", "max_position_size_percent", "max_leverage", "stop_before_liquidation", "max_open_positions",
        "max_gross_exposure_percent", "min_confidence", "max_daily_trades", "max_daily_loss_percent",
        "stop_loss_percent", "take_profit_percent",
    ]  # fmt: skip
    assert "min_confidence" not in names({}, "rules")


def test_zero_switches_a_limit_off() -> None:
    assert names(ALL_OFF, "llm") == ["coin_pool"]
    assert names({}, "hold") == ["coin_pool"]
    assert names({**ALL_OFF, "max_daily_trades": 3}, "rules") == [
        "coin_pool", "stop_before_liquidation", "max_daily_trades",
    ]  # fmt: skip
    assert active_limits({}, "hold") == {}
    assert active_limits({"max_leverage": 0}, "rules").keys() == RISK_DEFAULTS.keys() - {
        "max_leverage",
        "min_confidence",
    }


def test_defaults_are_the_contracts() -> None:
    assert parse_risk({}, "llm") == {
        "max_position_size_percent": 20, "max_leverage": 20, "max_open_positions": 3,
        "max_gross_exposure_percent": 300, "min_confidence": 60, "max_daily_trades": 50,
        "max_daily_loss_percent": 10, "stop_loss_percent": 5, "take_profit_percent": 10,
    }  # fmt: skip
    assert set(parse_risk({}, "hold").values()) == {0}


@pytest.mark.parametrize(
    ("risk", "field"),
    [
        ({"max_levrage": 3}, "risk.max_levrage"),
        ({"max_leverage": -1}, "risk.max_leverage"),
        ({"max_leverage": "3"}, "risk.max_leverage"),
        ({"max_leverage": True}, "risk.max_leverage"),
        ({"max_leverage": float("nan")}, "risk.max_leverage"),
        ({"max_leverage": 0.5}, "risk.max_leverage"),
        ({"max_open_positions": 2.5}, "risk.max_open_positions"),
        ({"max_daily_loss_percent": 101}, "risk.max_daily_loss_percent"),
        ([1], "risk"),
    ],
)
def test_a_wrong_limit_names_its_field(risk: object, field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_risk(risk, "rules")  # type: ignore[arg-type]
    assert caught.value.field == field


def test_limits_can_be_told_in_words() -> None:
    lines = describe(build_rules({}, "rules"))
    assert len(lines) == len(build_rules({}, "rules"))
    assert "leverage at most 20" in lines
