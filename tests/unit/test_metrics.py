"""Performance figures against numbers by hand and against the definitions in plain Python."""

from __future__ import annotations

import statistics
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
import pytest

from domain.times import DAY_MS, HOUR_MS
from domain.trading import ClosedTrade, Reason, Side
from simulation.kernel import simulate
from simulation.metrics import (
    max_drawdown,
    return_metrics,
    summarize,
    trade_metrics,
    trade_table,
)
from simulation.result import SimInput
from simulation.runs import RunTerms, result_of_steps
from tests.fakes.candle_tables import BrokerRun, coin


def trade(pnl: float, reason: Reason = Reason.SIGNAL, hours: int = 1) -> ClosedTrade:
    return ClosedTrade("BTC", Side.LONG, 0, 100, hours * HOUR_MS, 110, 1, 1, 0, 0, pnl, pnl / 10, reason)


def test_trade_figures() -> None:
    trades = [trade(30, hours=2), trade(-10), trade(-5, Reason.LIQUIDATION), trade(0), trade(99, Reason.OPEN)]
    got = trade_metrics(trade_table(trades))
    assert got == {
        "total_trades": 4,
        "winning_trades": 1,
        "losing_trades": 2,
        "win_rate": 25,
        "open_trades": 1,
        "profit_factor": 2,
        "expectancy": 3.75,
        "average_trade": 3.75,
        "average_trade_percent": 0.375,
        "average_win": 30,
        "average_loss": -7.5,
        "best_trade": 30,
        "worst_trade": -10,
        "average_duration": 1.25 * 3600,
        "longest_losing_streak": 2,
        "liquidations": 1,
    }


def test_what_is_not_known_is_none_and_never_nan() -> None:
    got = trade_metrics(trade_table([trade(99, Reason.OPEN)]))
    assert (got["total_trades"], got["open_trades"], got["winning_trades"]) == (0, 1, 0)
    for name in ("win_rate", "profit_factor", "expectancy", "best_trade", "worst_trade", "average_duration"):
        assert got[name] is None, name
    assert trade_metrics(trade_table([trade(5)]))["profit_factor"] is None
    assert set(return_metrics(np.array([1000.0]), 1000, 0).values()) == {None}
    flat = return_metrics(np.full(10, 1000.0), 1000, 0)
    assert (flat["annual_return"], flat["annual_volatility"]) == (0, 0)
    assert flat["sharpe_ratio"] is flat["sortino_ratio"] is flat["calmar_ratio"] is None


def test_return_figures_follow_their_definitions() -> None:
    marks = [1000.0, 1010.0, 990.0, 1050.0, 1040.0]
    daily = [b / a - 1 for a, b in pairwise(marks)]
    got = return_metrics(np.array(marks[1:]), 1000, 2.0)
    mean, deviation = statistics.mean(daily), statistics.stdev(daily)
    downside = sqrt(statistics.mean([min(r, 0) ** 2 for r in daily]))
    annual = (1.04 ** (365 / 4) - 1) * 100
    expected = {
        "annual_return": annual,
        "cagr": annual,
        "annual_volatility": deviation * sqrt(365) * 100,
        "sharpe_ratio": mean / deviation * sqrt(365),
        "sortino_ratio": mean / downside * sqrt(365),
        "calmar_ratio": annual / 2,
        "best_day": max(daily) * 100,
        "worst_day": min(daily) * 100,
    }
    assert got == pytest.approx(expected)


def test_a_total_loss_and_a_lucky_day() -> None:
    assert return_metrics(np.array([500.0, 0.0]), 1000, 100)["annual_return"] == -100
    assert return_metrics(np.array([1e9, 1e12]), 1, 1)["annual_return"] is None
    assert return_metrics(np.array([0.0, 0.0]), 1000, 100)["sharpe_ratio"] is None


def test_drawdown() -> None:
    assert max_drawdown(np.array([100.0, 120, 90, 130, 117])) == pytest.approx(25)
    assert max_drawdown(np.array([1.0, 2, 3])) == 0


def table(days: int) -> str:
    rng = np.random.default_rng(3)
    prices = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, days * 24))), 2)
    return "\n".join(f"{p} {p} {p} {p} {'b.s.'[i % 4]}" for i, p in enumerate(prices))


def inputs(days: int = 5) -> SimInput:
    return SimInput((coin("BTC", table(days), dict.fromkeys(range(0, days * 24, 8), 0.0001)),), HOUR_MS)


def test_a_run_and_the_same_run_through_a_broker_give_the_same_summary() -> None:
    result = simulate(inputs())
    assert result.equity is not None
    ours = summarize(result)
    run = BrokerRun(inputs())
    outcome = run.run()
    equity = np.array(outcome.equity)
    theirs = summarize(
        result_of_steps(
            RunTerms(
                coins={}, step_ms=HOUR_MS, initial_capital=10_000, fee_rate=0, maker_fee_rate=0, slippage_bps=0,
                direction="both", fill_price="next_open", stop_loss_percent=0, take_profit_percent=0,
                trailing_stop_percent=0,
            ),
            result.times,
            equity,
            equity,
            held_rows=int(np.count_nonzero(result.positions_value)),
            total_funding=outcome.funding,
            total_fees=outcome.fees,
            trades=outcome.trades,
        )
    )  # fmt: skip
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_the_summary_of_a_run() -> None:
    result = simulate(inputs())
    got: dict[str, Any] = summarize(result)
    assert result.equity is not None
    assert got["final_value"] == result.equity[-1]
    assert got["total_return"] == pytest.approx(result.equity[-1] - 10_000)
    assert got["return_percentage"] == pytest.approx((result.equity[-1] / 10_000 - 1) * 100)
    assert got["max_drawdown"] == pytest.approx(max_drawdown(result.equity))
    assert got["total_fees"] == pytest.approx(result.trades.fee.sum())
    assert got["total_funding"] == pytest.approx(result.trades.funding.sum())
    assert (got["days"], got["bars"]) == (5, 120)
    assert 0 < got["exposure"] < 100
    assert got["winning_trades"] + got["losing_trades"] <= got["total_trades"] == 30


def test_hours_within_one_day_have_no_yearly_figures() -> None:
    got = summarize(simulate(SimInput((coin("BTC", "10 10 10 10 b\n11 11 11 11 ."),), HOUR_MS)))
    assert got["sharpe_ratio"] is got["annual_return"] is None
    assert got["days"] * DAY_MS == DAY_MS
