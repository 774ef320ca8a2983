"""Requests in, reports out: the backtester over real stores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtesting import Backtester, kernel_terms, run_engine
from domain.errors import Cancelled, InvalidValue
from domain.market import Instrument
from domain.times import HOUR_MS
from simulation.history import CoinData
from simulation.runs import run_kernel
from strategies.signals import compile_ruleset
from tests.fakes.backtests import ALL_OFF, CROSS, START_MS, Models, a_model, make_backtester


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def backtester(tmp_path: Path, models: Models) -> Iterator[Backtester]:
    backtester, database = make_backtester(tmp_path, models)
    yield backtester
    database.engine.dispose()


def body(**changes: Any) -> dict[str, Any]:
    return {"strategy": CROSS, "coins": ["BTC"], "start_date": "2020-01-10", "end_date": "2020-03-31", **changes}


def run(backtester: Backtester, **changes: Any) -> Any:
    return backtester.run(backtester.prepare(body(**changes)), lambda _done: None, lambda: False)


def test_silent_fields_get_the_contracts_defaults(backtester: Backtester) -> None:
    settings = run(backtester, coins=["BTC", "SOL"]).report["settings"]
    assert settings["interval"] == "1h"
    assert (settings["venue"], settings["market"]) == ("binance", "perp"), "the only ones stored for these coins"
    assert settings["initial_capital"] == 10_000
    assert settings["trade_fee_rate"] == settings["maker_fee_rate"] == 0.001
    assert settings["leverage"] == 1
    assert settings["position_size_percent"] == 50
    assert settings["fill_price"] == "next_open"
    assert settings["funding"] == "auto"
    assert settings["maintenance_margin_rates"] == {"BTC": 0.01, "SOL": 0.01}, "nothing is known of these instruments"
    assert settings["maintenance_margin_rate"] == 0.01


def test_days_are_inclusive_and_ms_times_are_bar_opens(backtester: Backtester) -> None:
    days = run(backtester, start_date="2020-01-10", end_date="2020-01-11").report["data"][0]
    start = START_MS + 9 * 24 * HOUR_MS
    times = run(backtester, start_date=start, end_date=start + 47 * HOUR_MS).report["data"][0]
    assert days["rows"] == times["rows"] == 48
    assert days["first"] == times["first"] == start
    assert days["sha256"] == times["sha256"]


def test_the_first_decision_is_at_the_close_of_the_first_bar_and_warm_up_lies_before_it(backtester: Backtester) -> None:
    whole = run(backtester, start_date="2020-01-01")
    entry = next(trade for trade in whole.trades if trade.entry_time_ms > START_MS + 100 * HOUR_MS)
    signal_bar = entry.entry_time_ms - HOUR_MS
    assert run(backtester, start_date=signal_bar).trades[0].entry_time_ms == entry.entry_time_ms
    later = run(backtester, start_date=entry.entry_time_ms)
    assert all(trade.entry_time_ms != entry.entry_time_ms for trade in later.trades)


def test_the_same_request_gives_the_same_report(backtester: Backtester) -> None:
    first, second = (run(backtester, coins=["BTC", "ETH", "SOL"], leverage=3.0) for _ in range(2))
    for report in (first.report, second.report):
        del report["engine"]["seconds"]
    assert first.report == second.report
    assert first.trades == second.trades


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"coins": ["NOPE"]}, "coins"),
        ({"coins": ["BTC", "btc"], "venue": "binance"}, "coins"),
        ({"coins": []}, "coins"),
        ({"start_date": "2020-13-01"}, "start_date"),
        ({"start_date": "2020-01-10T00:00:00"}, "start_date"),
        ({"start_date": -1}, "start_date"),
        ({"interval": 60}, "interval"),
        ({"strategy": None, "strategy_id": "1"}, "strategy_id"),
        ({"coins": [5]}, "coins.0"),
        ({"start_date": "2021-01-01", "end_date": "2020-01-01"}, "end_date"),
        ({"start_date": "2030-01-01", "end_date": "2030-02-01"}, "start_date"),
        ({"interval": "7m"}, "interval"),
        ({"market": "perp-mark"}, "market"),
        ({"leverage": 0}, "leverage"),
        ({"leverage": True}, "leverage"),
        ({"initial_capital": -1}, "initial_capital"),
        ({"trade_fee_rate": "0.1"}, "trade_fee_rate"),
        ({"fill_price": "best"}, "fill_price"),
        ({"detail_interval": "1d"}, "detail_interval"),
        ({"strategy": None}, "strategy_id"),
        ({"strategy_id": 1}, "strategy"),
        ({"nonsense": 1}, "nonsense"),
        ({"strategy": {**CROSS, "buy_groups": [{"conditions": [{"indicator_type": "MA", "signal_type": "x"}]}]}},
         "strategy.buy_groups.0.conditions.0.signal_type"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused_by_the_name_of_the_field(
    backtester: Backtester, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValue) as refusal:
        backtester.prepare(body(**changes))
    assert refusal.value.field == field


def test_a_cancelled_run_stops(backtester: Backtester) -> None:
    with pytest.raises(Cancelled):
        backtester.run(backtester.prepare(body()), lambda _done: None, lambda: True)


@pytest.mark.parametrize(
    "risk",
    [
        ALL_OFF,
        {**ALL_OFF, "stop_loss_percent": 3, "take_profit_percent": 4},
        {**ALL_OFF, "max_position_size_percent": 20, "max_leverage": 1.5, "stop_loss_percent": 5},
    ],
)
def test_a_model_whose_limits_are_parameters_gets_the_same_from_kernel_and_engine(
    backtester: Backtester, models: Models, risk: dict[str, float]
) -> None:
    models.model = a_model(risk=risk)
    plan = backtester.prepare({"model_id": 1, "start_date": "2020-01-05", "end_date": "2020-04-30"})
    terms = kernel_terms(plan)
    assert terms is not None
    data: list[CoinData] = [backtester.reader.read(coin, plan.history) for coin in plan.coins]
    program = compile_ruleset(CROSS)
    fast = run_kernel(terms, data, program.signals)
    slow = run_engine(plan, data, program, lambda _done: None, lambda: False)
    assert len(fast.trades) > 50
    assert len(fast.trades) == len(slow.trades)
    assert fast.equity is not None
    assert slow.equity is not None
    np.testing.assert_allclose(fast.equity, slow.equity, rtol=0, atol=1e-9 * 5_000)
    np.testing.assert_allclose(np.sort(fast.trades.pnl), np.sort(slow.trades.pnl), rtol=0, atol=1e-9 * 5_000)
    assert fast.total_fees == pytest.approx(slow.total_fees, abs=1e-6)
    assert fast.max_drawdown == pytest.approx(slow.max_drawdown, abs=1e-9)


def test_the_report_warns_of_a_part_of_the_pool_and_of_a_leverage_that_no_venue_allows(
    backtester: Backtester, models: Models
) -> None:
    models.model = a_model(risk=ALL_OFF)
    plan = backtester.prepare({"model_id": 1, "coins": ["BTC"], "start_date": "2020-01-05", "end_date": "2020-01-20"})
    how = plan.terms.coins["BTC"]
    listed = Instrument("BTC", "binance", "perp", "BTCUSDT", max_leverage=1.5)
    plan = replace(plan, terms=replace(plan.terms, coins={"BTC": replace(how, instrument=listed)}))
    notes = backtester.run(plan, lambda _done: None, lambda: False).report["engine"]["notes"]
    assert any("only 1 of the 3 coins of the model's pool are run" in note for note in notes)
    assert any("BTC: leverage 2 is more than the 1.5 that the venue allows" in note for note in notes)


def test_a_limit_that_the_kernel_does_not_know_goes_through_the_engine(backtester: Backtester, models: Models) -> None:
    models.model = a_model(risk={**ALL_OFF, "max_open_positions": 1})
    plan = backtester.prepare({"model_id": 1, "start_date": "2020-01-05", "end_date": "2020-02-29"})
    assert kernel_terms(plan) is None
    trades = backtester.run(plan, lambda _done: None, lambda: False).trades
    spans = sorted((trade.entry_time_ms, trade.exit_time_ms) for trade in trades)
    assert len(trades) > 5
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(spans)), "one at a time"


def test_a_hold_model_buys_by_weight_and_keeps(backtester: Backtester, models: Models) -> None:
    models.model = replace(a_model(kind="hold", leverage=1.0), slippage_bps=0.0)
    plan = backtester.prepare({"model_id": 1, "start_date": "2020-01-05", "end_date": "2020-02-29", "funding": "none"})
    outcome = backtester.run(plan, lambda _done: None, lambda: False)
    assert [trade.coin for trade in outcome.trades] == ["BTC", "ETH", "SOL"]
    invested = {trade.coin: trade.quantity * trade.entry_price for trade in outcome.trades}
    assert invested["BTC"] == pytest.approx(2_500, rel=1e-6)
    assert all(trade.reason == "open" for trade in outcome.trades)
    assert outcome.report["summary"]["total_trades"] == 0
