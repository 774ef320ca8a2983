"""Performance figures of a run, under empyrical's names. Percentages in percent.

Returns are daily: the account is marked at the last close by the end of each UTC day (00:00), from the first
bar's day to the last bar's, weekends and days without a bar included (they repeat the mark before,
so their return is zero); the first return is against the initial capital. A year has 365 days:
crypto never closes. The risk-free rate is zero. With r the n daily returns:

- annual_return = cagr = (final value / initial capital) ** (365 / n) - 1
- annual_volatility = std(r, ddof=1) * sqrt(365)
- sharpe_ratio = mean(r) / std(r, ddof=1) * sqrt(365)
- sortino_ratio = mean(r) / sqrt(mean(min(r, 0) ** 2)) * sqrt(365)
- calmar_ratio = annual_return / max_drawdown, drawdown measured on equity at the closes

(formulas: empyrical's stats module, with annualization=365). A number that cannot be known
(fewer than two days, no trade, a division by zero) is None, never 0 and never NaN.
"""

from __future__ import annotations

from math import isfinite, sqrt
from typing import Any

import numpy as np

from brokers.accounting import EXIT_OPEN, REASONS
from domain.market import FloatArray
from domain.trading import ClosedTrade, Reason, Side
from simulation.result import SimResult, TradeTable

DAYS_A_YEAR = 365


def summarize(result: SimResult) -> dict[str, Any]:
    """Summary of a simulation: names as in the report's `summary`."""
    summary: dict[str, Any] = {
        "initial_capital": result.initial_capital,
        "final_value": result.final_value,
        "total_return": result.final_value - result.initial_capital,
        "return_percentage": (result.final_value / result.initial_capital - 1.0) * 100.0,
        "max_drawdown": result.max_drawdown,
    }
    summary |= trade_metrics(result.trades)
    summary |= {"total_fees": result.total_fees, "total_funding": result.total_funding}
    summary |= return_metrics(result.day_equity, result.initial_capital, result.max_drawdown)
    summary["exposure"] = _ratio(100.0 * result.held_rows, len(result.times))
    summary["days"] = len(result.day_times)
    summary["bars"] = len(result.times)
    return summary


def max_drawdown(equity: FloatArray) -> float:
    """Largest fall of `equity` (shape (n,)) from a peak before it, in percent of that peak, positive."""
    peaks = np.maximum.accumulate(equity)
    return float(np.max((peaks - equity) / peaks)) * 100.0


def return_metrics(day_equity: FloatArray, initial_capital: float, drawdown: float) -> dict[str, float | None]:
    """Figures from daily marks of equity, shape (days,); `drawdown` in percent. See the module for formulas."""
    marks = np.concatenate(([initial_capital], day_equity))
    names = ("annual_return", "cagr", "annual_volatility", "sharpe_ratio", "sortino_ratio", "calmar_ratio")
    extremes = ("best_day", "worst_day")
    if len(day_equity) < 2 or np.any(marks[:-1] <= 0):
        return dict.fromkeys((*names, *extremes))
    returns = np.diff(marks) / marks[:-1]
    mean, deviation = float(returns.mean()), float(returns.std(ddof=1))
    downside = sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    yearly = sqrt(DAYS_A_YEAR)
    annual = _annual_return(marks[-1] / initial_capital, len(returns))
    return {
        "annual_return": annual,
        "cagr": annual,
        "annual_volatility": deviation * yearly * 100.0,
        "sharpe_ratio": _ratio(mean * yearly, deviation),
        "sortino_ratio": _ratio(mean * yearly, downside),
        "calmar_ratio": None if annual is None else _ratio(annual, drawdown),
        "best_day": float(returns.max()) * 100.0,
        "worst_day": float(returns.min()) * 100.0,
    }


def trade_metrics(trades: TradeTable) -> dict[str, Any]:
    """Counts and averages over closed trades; what is still open is counted in `open_trades` alone.

    A trade without profit and loss is neither won nor lost. profit_factor = sum of profits / sum of losses;
    expectancy = average_trade = mean pnl; best and worst trade in money; durations in seconds.
    """
    closed = trades.is_closed
    pnl = trades.pnl[closed]
    total, won, lost = len(pnl), int(np.count_nonzero(pnl > 0)), int(np.count_nonzero(pnl < 0))
    profits, losses = float(pnl[pnl > 0].sum()), -float(pnl[pnl < 0].sum())
    held_s = (trades.exit_time[closed] - trades.entry_time[closed]) / 1000.0
    reasons = trades.reason[closed]
    return {
        "total_trades": total,
        "winning_trades": won,
        "losing_trades": lost,
        "win_rate": _ratio(100.0 * won, total),
        "open_trades": int(len(trades) - total),
        "profit_factor": _ratio(profits, losses),
        "expectancy": _ratio(float(pnl.sum()), total),
        "average_trade": _ratio(float(pnl.sum()), total),
        "average_trade_percent": _ratio(float(trades.pnl_percent[closed].sum()), total),
        "average_win": _ratio(profits, won),
        "average_loss": _ratio(-losses, lost),
        "best_trade": float(pnl.max()) if total else None,
        "worst_trade": float(pnl.min()) if total else None,
        "average_duration": _ratio(float(held_s.sum()), total),
        "longest_losing_streak": _longest_run(pnl < 0),
        "liquidations": int(np.count_nonzero(reasons == REASONS.index(Reason.LIQUIDATION))),
    }


def trade_table(trades: list[ClosedTrade]) -> TradeTable:
    """Domain rows as columns; coins are numbered in the order of their first trade."""
    numbers: dict[str, int] = {}
    for trade in trades:
        numbers.setdefault(trade.coin, len(numbers))
    return TradeTable(
        coin=_column([numbers[t.coin] for t in trades], np.int64),
        side=_column([1 if t.side is Side.LONG else -1 for t in trades], np.int64),
        entry_time=_column([t.entry_time_ms for t in trades], np.int64),
        entry_price=_column([t.entry_price for t in trades], np.float64),
        exit_time=_column([t.exit_time_ms for t in trades], np.int64),
        exit_price=_column([t.exit_price for t in trades], np.float64),
        quantity=_column([t.quantity for t in trades], np.float64),
        leverage=_column([t.leverage for t in trades], np.float64),
        fee=_column([t.fee for t in trades], np.float64),
        funding=_column([t.funding for t in trades], np.float64),
        pnl=_column([t.pnl for t in trades], np.float64),
        pnl_percent=_column([t.pnl_percent for t in trades], np.float64),
        reason=_column([EXIT_OPEN if t.reason is Reason.OPEN else REASONS.index(t.reason) for t in trades], np.int64),
    )


def _column(values: list[Any], kind: type) -> Any:
    return np.array(values, dtype=kind)


def _annual_return(growth: float, days: int) -> float | None:
    """In percent; a total loss is -100."""
    if growth <= 0:
        return -100.0
    exponent = np.log(growth) * DAYS_A_YEAR / days
    # A few lucky days, annualised, can pass the largest float.
    return float(np.expm1(exponent)) * 100.0 if exponent < 700.0 else None


def _longest_run(flags: Any) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def _ratio(above: float, below: float) -> float | None:
    """above / below, None where that is not a number that means anything."""
    if below == 0 or not isfinite(below) or not isfinite(above):
        return None
    value = above / below
    return value if isfinite(value) else None
