"""Which funding a position of a backtest pays, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from domain.market import FloatArray, IntArray
from domain.times import HOUR_MS, MINUTE_MS, ceil_ms

# What is charged where no rates are stored: the usual rate of a perpetual near its index.
DEFAULT_RATE = 0.0001
DEFAULT_PERIOD_MS = 8 * HOUR_MS


@dataclass(frozen=True, slots=True, eq=False)
class FundingSchedule:
    """Payments of one coin, oldest first: times int64 ms, rates float64, all of shape (events,).

    `note` says where the rates are not the stored ones; empty where they are.
    """

    times: IntArray
    long_rates: FloatArray
    short_rates: FloatArray
    note: str = ""


NONE = FundingSchedule(np.empty(0, np.int64), np.empty(0), np.empty(0))


def schedule(
    times: IntArray, rates: FloatArray, start_ms: int, end_ms: int, *, longs_pay: bool, name: str
) -> FundingSchedule:
    """Payments due in [start_ms, end_ms) from the stored rates of one perpetual.

    Before the first and after the last stored rate (or everywhere, where none are stored) longs pay
    DEFAULT_RATE every eight hours and shorts receive nothing. `longs_pay` is False for unlevered longs on
    spot, which pay no funding at all. Times are full minutes already.
    """
    inside = (times >= start_ms) & (times < end_ms)
    stored_t, stored_r = times[inside], rates[inside]
    grid = np.arange(ceil_ms(start_ms, DEFAULT_PERIOD_MS), end_ms, DEFAULT_PERIOD_MS, dtype=np.int64)
    note = ""
    if len(times):
        # A stored period reaches until the next payment is due; what lies beyond has no rate.
        period = int(np.median(np.diff(times))) if len(times) > 1 else DEFAULT_PERIOD_MS
        assumed = grid[(grid < times[0] - period + MINUTE_MS) | (grid >= times[-1] + period)]
    else:
        assumed = grid
    if len(assumed) and longs_pay:
        part = "" if len(assumed) == len(grid) else f" for {len(assumed)} of the payments"
        note = f"{name}: no stored funding rates{part}; longs are charged 0.01 % every 8 h, shorts are credited nothing"
    elif len(assumed):
        note = f"{name}: no stored funding rates for a part of the span; shorts are credited nothing there"
    all_times = np.concatenate([stored_t, assumed])
    order = np.argsort(all_times, kind="stable")
    short_rates = np.concatenate([stored_r, np.zeros(len(assumed))])[order]
    long_rates = np.concatenate([stored_r, np.full(len(assumed), DEFAULT_RATE)])[order]
    if not longs_pay:
        long_rates = np.zeros(len(long_rates))
    return FundingSchedule(all_times[order], long_rates, short_rates, note)
