"""TradingEngine.step(): settle, look, decide, gate, record, submit."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from brokers.paper import AccountTerms, MemoryJournal, PaperBroker
from domain.ports import Cycle
from domain.times import DAY_MS, MINUTE_MS
from domain.trading import Account, Action, Decision, Intent, MarketView, Result, Verdict
from risk import build_rules
from runtime.clock import SteppedClock
from tests.fakes.market import ScriptedFeed, ScriptedTrader, always, flat_bars
from traders.hold import HoldTrader
from trading_engine import EngineState, MemoryRecorder, Parts, Row, Terms, TradingEngine

NOON = 1_704_110_400_000  # 2024-01-01 12:00 UTC
COINS = ("BTC", "ETH")
NO_LIMITS = {"max_position_size_percent": 0, "max_leverage": 0, "max_open_positions": 0, "max_daily_trades": 0,
             "max_gross_exposure_percent": 0, "max_daily_loss_percent": 0, "stop_loss_percent": 0,
             "take_profit_percent": 0}  # fmt: skip


class LossRecorder(MemoryRecorder):
    def __init__(self, *, keep: bool) -> None:
        super().__init__(keep)
        self.losses: list[tuple[int, float]] = []

    def loss_touched(self, account: Account, time_ms: int) -> None:
        self.losses.append((time_ms, account.total_value))


class Desk:
    """An engine with everything that a test looks at."""

    def __init__(
        self,
        trader: object,
        feed: ScriptedFeed | None = None,
        risk: dict[str, float] | None = None,
        coins: Sequence[str] = COINS,
        interval: str = "1m",
        now_ms: int = NOON,
        **terms: object,
    ) -> None:
        self.clock = SteppedClock(now_ms)
        self.feed = feed or flat_bars(coins, interval, now_ms)
        self.recorder = MemoryRecorder(keep=True)
        self.journal = MemoryJournal(keep_entries=True)
        self.broker = PaperBroker(AccountTerms(10_000.0, tuple(coins)), self.journal, opened_ms=now_ms)
        self.state = EngineState(settled_ms=now_ms)
        rules = build_rules(NO_LIMITS if risk is None else {**NO_LIMITS, **risk}, "rules")
        self.parts = Parts(self.clock, self.feed, trader, rules, self.broker, self.recorder)  # type: ignore[arg-type]
        self.engine = TradingEngine(self.parts, Terms(tuple(coins), interval, **terms), self.state)  # type: ignore[arg-type]

    def step_at(self, time_ms: int):  # type: ignore[no-untyped-def]
        self.clock.set(time_ms)
        return self.engine.step()

    @property
    def decisions(self) -> list[Decision]:
        return [row[0] for _, row in self.recorder.rows]

    @property
    def verdicts(self) -> list[Verdict]:
        return [verdict for _, row in self.recorder.rows for verdict in row[1]]


# -- when it decides ----------------------------------------------------------------------


def test_it_decides_once_for_each_closed_bar_and_else_only_settles() -> None:
    desk = Desk(always(Action.HOLD))
    assert desk.step_at(NOON + 10).decided
    assert not desk.step_at(NOON + 20_000).decided
    desk.feed.close("BTC", NOON, 101)
    desk.feed.close("ETH", NOON, 101)
    assert not desk.step_at(NOON + MINUTE_MS - 1).decided
    assert desk.step_at(NOON + MINUTE_MS).decided
    assert [d.coin for d in desk.decisions] == ["BTC", "ETH"] * 2
    assert desk.state.decided == dict.fromkeys(COINS, NOON + MINUTE_MS)


def test_a_candle_that_comes_late_is_decided_on_when_it_comes() -> None:
    desk = Desk(always(Action.HOLD))
    desk.step_at(NOON)
    desk.feed.close("BTC", NOON, 101)
    desk.step_at(NOON + MINUTE_MS)
    desk.feed.close("ETH", NOON, 101)
    desk.step_at(NOON + MINUTE_MS + 2_000)
    assert [d.coin for d in desk.decisions] == ["BTC", "ETH", "BTC", "ETH"]
    assert [view.fresh for view in desk.parts.trader.views[1:]] == [{"BTC"}, {"ETH"}]  # type: ignore[attr-defined]


def test_an_engine_that_starts_anew_does_not_decide_the_same_bar_again() -> None:
    first = Desk(always(Action.HOLD))
    first.step_at(NOON)
    again = Desk(always(Action.HOLD))
    again.state.decided = dict(first.state.decided)
    assert not again.step_at(NOON + 30_000).decided


def test_a_candle_that_comes_after_a_new_start_is_decided_on() -> None:
    first = Desk(always(Action.HOLD))
    first.step_at(NOON)
    first.feed.close("BTC", NOON, 101)
    first.step_at(NOON + MINUTE_MS)
    again = Desk(always(Action.HOLD), first.feed)
    again.state.decided = dict(first.state.decided)
    again.feed.close("ETH", NOON, 101)
    again.step_at(NOON + MINUTE_MS + 2_000)
    assert [d.coin for d in again.decisions] == ["ETH"]


def test_a_trader_without_bars_to_wait_for_decides_at_every_step() -> None:
    desk = Desk(ScriptedTrader(lambda view: [Decision("BTC", Action.HOLD)]), once_per_bar=False)
    assert desk.step_at(NOON).decided
    assert desk.step_at(NOON + 1).decided


def test_the_view_holds_closed_candles_and_nothing_after_now() -> None:
    feed = flat_bars(COINS, "1m", NOON)
    feed.close("BTC", NOON, 500)
    desk = Desk(always(Action.HOLD), feed)
    desk.step_at(NOON + 59_999)
    view: MarketView = desk.parts.trader.views[0]  # type: ignore[attr-defined]
    assert view.now_ms == NOON + 59_999
    assert all(int(bars.time[-1]) + MINUTE_MS <= view.now_ms for bars in view.bars.values())
    assert 500 not in view.bars["BTC"].close
    assert view.coins == COINS


# -- orders -------------------------------------------------------------------------------


def test_an_order_fills_at_the_first_price_after_it_was_decided() -> None:
    feed = flat_bars(COINS, "1m", NOON)
    feed.quote(NOON - 1, BTC=90, ETH=90)
    feed.quote(NOON, BTC=95, ETH=95)
    feed.quote(NOON + 700, spread=2, BTC=110, ETH=110)
    desk = Desk(always(Action.LONG), feed)
    result = desk.step_at(NOON)
    assert [order.coin for order in result.orders] == ["BTC", "ETH"]
    assert result.fills == ()
    fills = desk.step_at(NOON + 1_000).fills
    # A buy pays the ask: one above the middle.
    assert [(fill.coin, fill.price, fill.time_ms) for fill in fills] == [
        ("BTC", 111, NOON + 700),
        ("ETH", 111, NOON + 700),
    ]


def test_closes_come_before_opens_and_opens_in_pool_order() -> None:
    def say(view: MarketView) -> list[Decision]:
        if not view.account.positions:
            return [Decision("XRP", Action.LONG, position_size_percent=10)]
        return [
            Decision("SOL", Action.LONG), Decision("XRP", Action.CLOSE),
            Decision("BTC", Action.LONG), Decision("ETH", Action.HOLD),
        ]  # fmt: skip

    coins = ("BTC", "ETH", "SOL", "XRP")
    feed = flat_bars(coins, "1m", NOON)
    for second in (1, 61):
        feed.quote(NOON + second * 1000, **dict.fromkeys(coins, 100.0))
    for coin in coins:
        feed.close(coin, NOON, 100)
    desk = Desk(ScriptedTrader(say), feed, coins=coins)
    desk.step_at(NOON)
    result = desk.step_at(NOON + MINUTE_MS)
    assert [(o.coin, o.action) for o in result.orders] == [
        ("XRP", Action.CLOSE), ("BTC", Action.LONG), ("SOL", Action.LONG),
    ]  # fmt: skip
    fills = desk.step_at(NOON + 61_000).fills
    assert [fill.coin for fill in fills] == ["XRP", "BTC", "SOL"]


def test_everything_is_written_down_before_anything_is_sent() -> None:
    happened: list[str] = []
    desk = Desk(always(Action.LONG))

    class Recorder(MemoryRecorder):
        def decided(self, rows: Sequence[Row], cycle: Cycle) -> list[Intent | None]:
            happened.append(f"recorded {len(rows)} at {cycle.decided['BTC']}")
            return super().decided(rows, cycle)

    desk.parts.recorder = Recorder()
    submit = desk.broker.submit
    desk.broker.submit = lambda intent: (happened.append(f"sent {intent.coin}"), submit(intent))[1]  # type: ignore[method-assign]
    desk.step_at(NOON)
    assert happened == [f"recorded 2 at {NOON}", "sent BTC", "sent ETH"]


def test_what_the_recorder_makes_of_an_intent_is_what_is_sent() -> None:
    class Numbered(MemoryRecorder):
        def decided(self, rows: Sequence[Row], cycle: Cycle) -> list[Intent | None]:
            found = super().decided(rows, cycle)
            return [None if i is None else Intent(i.coin, i.action, i.client_id, 5.0, decision_id=7) for i in found]

    desk = Desk(always(Action.LONG))
    desk.parts.recorder = Numbered()
    result = desk.step_at(NOON)
    assert {order.decision_id for order in result.orders} == {7}
    assert {order.intent.position_size_percent for order in desk.broker.open_orders()} == {5.0}


def test_a_silent_decision_takes_the_models_terms() -> None:
    desk = Desk(
        always(Action.LONG), weights={"BTC": 3.0, "ETH": 1.0}, leverage=2.0, stop_loss_percent=4.0,
        trailing_stop_percent=1.0,
    )  # fmt: skip
    orders = desk.step_at(NOON).orders
    assert [order.position_size_percent for order in orders] == [75, 25]
    assert {(o.leverage, o.stop_loss_percent, o.take_profit_percent, o.trailing_stop_percent) for o in orders} == {
        (2, 4, 0, 1)
    }
    assert len({order.client_id for order in orders}) == 2
    assert all(len(order.client_id) == 32 for order in orders)


def test_closing_what_is_not_held_makes_no_order() -> None:
    desk = Desk(always(Action.CLOSE))
    result = desk.step_at(NOON)
    assert result.orders == ()
    assert [d.action for d in result.decisions] == [Action.CLOSE] * 2


def test_an_order_that_still_waits_is_not_sent_twice() -> None:
    feed = flat_bars(COINS, "1m", NOON)
    for coin in COINS:
        feed.close(coin, NOON, 100)
    desk = Desk(always(Action.LONG), feed)
    assert len(desk.step_at(NOON).orders) == 2
    assert desk.step_at(NOON + MINUTE_MS).orders == ()
    assert [v.rule for v in desk.verdicts if v.result is Result.REFUSE] == ["order_waiting"] * 2


# -- limits -------------------------------------------------------------------------------


def test_opens_of_one_cycle_share_the_limits() -> None:
    coins = ("BTC", "ETH", "SOL")
    desk = Desk(always(Action.LONG), flat_bars(coins, "1m", NOON), {"max_open_positions": 2}, coins)
    result = desk.step_at(NOON)
    assert [order.coin for order in result.orders] == ["BTC", "ETH"]
    refused = [v for v in desk.verdicts if v.result is Result.REFUSE]
    assert [(v.rule, v.asked, v.allowed) for v in refused] == [("max_open_positions", 3, 2)]


def test_a_close_of_the_same_cycle_makes_room() -> None:
    def say(view: MarketView) -> list[Decision]:
        if not view.account.positions:
            return [Decision("BTC", Action.LONG)]
        return [Decision("ETH", Action.LONG), Decision("BTC", Action.CLOSE)]

    feed = flat_bars(COINS, "1m", NOON)
    feed.quote(NOON + 1_000, BTC=100, ETH=100)
    for coin in COINS:
        feed.close(coin, NOON, 100)
    desk = Desk(ScriptedTrader(say), feed, {"max_open_positions": 1})
    desk.step_at(NOON)
    assert [(o.coin, o.action) for o in desk.step_at(NOON + MINUTE_MS).orders] == [
        ("BTC", Action.CLOSE), ("ETH", Action.LONG),
    ]  # fmt: skip


def test_clamps_follow_one_another_and_every_verdict_is_kept() -> None:
    desk = Desk(
        always(Action.LONG, position_size_percent=90.0, leverage=50.0),
        coins=("BTC",), feed=flat_bars(["BTC"], "1m", NOON),
        risk={"max_position_size_percent": 20, "max_leverage": 20, "stop_loss_percent": 8},
    )  # fmt: skip
    (order,) = desk.step_at(NOON).orders
    assert order.position_size_percent == 20
    # A stop 8 % away needs leverage below 1 / (1 - 0.92 x 0.99) = 11.2.
    assert 11 < order.leverage < 11.2
    assert order.stop_loss_percent == 8
    assert [(v.rule, v.result) for v in desk.verdicts] == [
        ("coin_pool", Result.PASS), ("max_position_size_percent", Result.CLAMP), ("max_leverage", Result.CLAMP),
        ("stop_before_liquidation", Result.CLAMP), ("stop_loss_percent", Result.CLAMP),
    ]  # fmt: skip


def test_the_daily_loss_stops_opens_until_the_next_day() -> None:
    feed = flat_bars(["BTC"], "1m", NOON)
    feed.quote(NOON + 1_000, BTC=100)
    feed.quote(NOON + 20_000, BTC=90)
    feed.quote(NOON + 30_000, BTC=80)
    feed.quote(NOON + 33_000, BTC=75)
    feed.quote(NOON + 40_000, BTC=100)
    for day, minute in ((0, 0), (0, 1), (1, 0)):
        feed.close("BTC", NOON + day * DAY_MS + minute * MINUTE_MS, 100)
    feed.quote(NOON + DAY_MS + MINUTE_MS, BTC=100)

    def say(view: MarketView) -> list[Decision]:
        size = 60.0 if not view.account.positions else 5.0
        return [Decision("BTC", Action.LONG, position_size_percent=size)]

    desk = Desk(ScriptedTrader(say), feed, {"max_daily_loss_percent": 10}, ("BTC",))
    desk.parts.recorder = desk.recorder = LossRecorder(keep=True)
    assert len(desk.step_at(NOON).orders) == 1
    desk.step_at(NOON + 1_000)
    desk.clock.set(NOON + 35_000)
    desk.engine.settle()
    # 15 % were lost in between, and won back by the time of the decision.
    assert desk.step_at(NOON + MINUTE_MS).orders == ()
    refused = [v for v in desk.verdicts if v.result is Result.REFUSE]
    assert [v.rule for v in refused] == ["max_daily_loss_percent"]
    assert refused[0].asked == pytest.approx(15, abs=0.2)
    assert desk.recorder.losses == [(NOON + 30_000, pytest.approx(8_800, abs=20))]
    assert len(desk.step_at(NOON + DAY_MS + MINUTE_MS).orders) == 1


def test_the_day_starts_with_the_equity_before_its_first_price() -> None:
    midnight = NOON + DAY_MS // 2
    feed = flat_bars(["BTC"], "1m", NOON)
    feed.quote(NOON + 1_000, BTC=100)
    feed.quote(midnight - 1_000, BTC=120)
    feed.quote(midnight + 1_000, BTC=50)
    desk = Desk(always(Action.LONG, position_size_percent=50.0), feed, coins=("BTC",))
    desk.step_at(NOON)
    desk.step_at(midnight + 2_000)
    assert desk.state.day_start_ms == midnight
    quantity = 5_000 / 100
    assert desk.state.day_start_equity == pytest.approx(10_000 - 5 + quantity * 20)
    assert desk.broker.account().total_value == pytest.approx(10_000 - 5 - quantity * 50)


def test_opens_are_counted_by_day() -> None:
    feed = flat_bars(COINS, "1m", NOON)
    feed.quote(NOON + 1_000, BTC=100, ETH=100)
    desk = Desk(always(Action.LONG), feed)
    desk.step_at(NOON)
    desk.step_at(NOON + 1_000)
    assert desk.state.opens_today == 2
    assert desk.state.bought == {"BTC", "ETH"}
    desk.step_at(NOON + DAY_MS)
    assert desk.state.opens_today == 0


# -- settling -----------------------------------------------------------------------------


def test_an_account_without_position_and_order_asks_for_no_prices() -> None:
    desk = Desk(always(Action.HOLD))
    desk.step_at(NOON + 5_000)
    assert desk.feed.asked == []
    assert desk.state.settled_ms == NOON + 5_000


def test_prices_are_asked_for_what_is_held_or_ordered_only() -> None:
    feed = flat_bars(COINS, "1m", NOON)
    feed.quote(NOON + 1_000, BTC=100, ETH=100)
    desk = Desk(ScriptedTrader(lambda view: [Decision("ETH", Action.LONG)]), feed)
    desk.step_at(NOON)
    desk.step_at(NOON + 2_000)
    assert desk.feed.asked == [(("ETH",), NOON, NOON + 2_000)]
    assert desk.engine.involved() == ("ETH",)


def test_a_coin_that_left_the_pool_keeps_its_stop() -> None:
    feed = flat_bars(COINS, "1m", NOON)
    feed.quote(NOON + 1_000, BTC=100, ETH=100)
    feed.quote(NOON + 2_000, BTC=90, ETH=100)
    desk = Desk(always(Action.LONG), feed, {"stop_loss_percent": 5})
    desk.step_at(NOON)
    desk.step_at(NOON + 1_000)
    desk.engine.terms = Terms(("ETH",), "1m")
    (fill,) = desk.step_at(NOON + 2_000).fills
    assert (fill.coin, fill.reason, fill.price) == ("BTC", "stop_loss", 90)


def test_hold_buys_once() -> None:
    feed = flat_bars(COINS, "1m", NOON)
    desk = Desk(HoldTrader(), feed, weights={"BTC": 1.0, "ETH": 1.0})
    for minute in range(5):
        for coin in COINS:
            feed.close(coin, NOON + minute * MINUTE_MS, 100)
        feed.quote(NOON + minute * MINUTE_MS + 1_000, BTC=100, ETH=100)
        desk.step_at(NOON + minute * MINUTE_MS)
        desk.step_at(NOON + minute * MINUTE_MS + 1_000)
    assert len(desk.journal.fills) == 2
    assert desk.broker.account().cash == pytest.approx(0, abs=1e-9)


# -- speed --------------------------------------------------------------------------------


def test_a_step_in_which_nothing_happens_is_cheap() -> None:
    """The engine's own share: what the feed, the trader and the broker cost is theirs."""
    desk = Desk(ScriptedTrader())
    desk.step_at(NOON)
    best = 1.0
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(2_000):
            desk.engine.step()
        best = min(best, (time.perf_counter() - began) / 2_000)
    assert best < 60e-6
