"""Coarser candles from finer ones, exactly: first open, highest high, lowest low, last close, summed volume."""

from __future__ import annotations

import numpy as np

from domain.errors import InvalidValue
from domain.market import Bars
from domain.times import WEEK_MS, WEEK_OFFSET_MS


def divides(fine_ms: int, coarse_ms: int) -> bool:
    """Whether candles of `coarse_ms` can be built from candles of `fine_ms`."""
    return 0 < fine_ms <= coarse_ms and coarse_ms % fine_ms == 0


def resample(bars: Bars, fine_ms: int, coarse_ms: int) -> Bars:
    """`bars` (aligned, ascending, step `fine_ms`) as candles of `coarse_ms`; weeks open on Monday.

    A candle whose span has holes is built from the bars that exist, as a venue does in an outage. The
    first and the last candle may be built from part of their span: ask for whole ones, or cut them off.
    InvalidValue where the steps do not divide.
    """
    if not divides(fine_ms, coarse_ms):
        raise InvalidValue(f"candles of {coarse_ms} ms cannot be built from {fine_ms} ms", field="interval")
    if fine_ms == coarse_ms or not len(bars):
        return bars
    offset = WEEK_OFFSET_MS if coarse_ms == WEEK_MS else 0
    bucket = (bars.time - offset) // coarse_ms
    first = np.flatnonzero(np.concatenate(([True], bucket[1:] != bucket[:-1])))
    last = np.concatenate((first[1:], [len(bars)])) - 1
    return Bars(
        bucket[first] * coarse_ms + offset,
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        bars.close[last],
        np.add.reduceat(bars.volume, first),
    )
