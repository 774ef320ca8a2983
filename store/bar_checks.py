"""Which bars of a file are good, and why the others are not. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from domain.market import Bars, IntArray
from domain.times import DAY_MS, WEEK_MS, WEEK_OFFSET_MS, from_ms
from store.series_edit import take

# Bitcoin's first block is of January 2009. A time beyond 2100 is a time in another unit.
EARLIEST_MS = 1_230_768_000_000
LATEST_MS = 4_102_444_800_000
# Refused rows of one file that are named; the rest are counted.
KEPT_REFUSALS = 1000

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row that was not stored. `line` counts from 1 and includes the header (Parquet: the row)."""

    line: int
    reason: str


class Refusals:
    """Counts all refused rows and keeps the first of them in line order."""

    def __init__(self, first: Iterable[Refusal] = ()) -> None:
        self._found = list(first)
        self.count = len(self._found)

    def add(self, lines: IntArray, reason: Callable[[int], str]) -> None:
        """`reason(i)` says what is wrong with the row of `lines[i]`; asked only for rows that may be shown."""
        self.count += len(lines)
        self._found += [Refusal(int(lines[i]), reason(int(i))) for i in np.argsort(lines)[:KEPT_REFUSALS]]

    def first(self) -> tuple[Refusal, ...]:
        return tuple(sorted(self._found, key=lambda refusal: refusal.line)[:KEPT_REFUSALS])


@dataclass(frozen=True, slots=True)
class Checked:
    """Good bars in ascending order, and how many other rows repeated one of them exactly."""

    bars: Bars
    repeated: int


def check_bars(bars: Bars, lines: IntArray, step_ms: int, refusals: Refusals, now_ms: int | None = None) -> Checked:
    """Sorts the rows of one file into good ones and `refusals`.

    `lines` names each row. With `now_ms` a bar that has not closed by then is refused. Of rows with one
    time the first good one counts; of rows out of order as few as possible are refused.
    """
    good = _drop_faulty(bars, lines, _faults(bars, step_ms, now_ms), refusals)
    return order_bars(take(bars, good), lines[good], refusals)


def order_bars(bars: Bars, lines: IntArray, refusals: Refusals) -> Checked:
    """Good rows in ascending order, each time once: contradictions and rows out of order are refused."""
    places = _drop_conflicting(bars, lines, refusals)
    kept = _in_order(bars, lines, places, refusals)
    return Checked(take(bars, kept.places), kept.repeated)


# -- one row by itself --------------------------------------------------------------------

Fault = tuple[NDArray[np.bool_], str]


def _faults(bars: Bars, step_ms: int, now_ms: int | None) -> list[Fault]:
    """(rows at fault, what is wrong with them) in the order in which a row's reason is chosen."""
    with np.errstate(invalid="ignore"):
        prices = np.array([bars.open, bars.high, bars.low, bars.close])
        finite = np.isfinite(prices).all(axis=0) & np.isfinite(bars.volume)
        faults = [
            (~finite, "a value is not a finite number"),
            ((prices <= 0).any(axis=0), "a price is zero or negative"),
            (bars.volume < 0, "volume {volume} is negative"),
            (bars.high < bars.low, "high {high} is below low {low}"),
            ((bars.open > bars.high) | (bars.open < bars.low), "open {open} is outside low {low} to high {high}"),
            ((bars.close > bars.high) | (bars.close < bars.low), "close {close} is outside low {low} to high {high}"),
            (
                (bars.time < EARLIEST_MS) | (bars.time >= LATEST_MS),
                "time {time} is outside 2009 to 2100; milliseconds belong here (microseconds in a dump)",
            ),
            (_unaligned(bars.time, step_ms), "{when} is not the open of a bar of this interval"),
        ]
        if now_ms is not None:
            faults.append((bars.time > now_ms - step_ms, "the bar of {when} has not closed yet"))
    return faults


def _unaligned(times: IntArray, step_ms: int) -> NDArray[np.bool_]:
    if step_ms == WEEK_MS:
        return np.asarray((times - WEEK_OFFSET_MS) % WEEK_MS != 0)
    # Venues start three-day bars on days of their own; days themselves start at 00:00 UTC.
    return np.asarray(times % min(step_ms, DAY_MS) != 0)


def _drop_faulty(bars: Bars, lines: IntArray, faults: list[Fault], refusals: Refusals) -> Places:
    good = np.ones(len(bars), dtype=bool)
    for at_fault, reason in faults:
        places = np.flatnonzero(at_fault & good)
        refusals.add(lines[places], partial(_explain, reason, bars, places))
        good &= ~at_fault
    return np.flatnonzero(good)


def _explain(reason: str, bars: Bars, places: Places, i: int) -> str:
    candle = bars.candle(int(places[i]))
    prices = {"open": candle.open, "high": candle.high, "low": candle.low, "close": candle.close}
    return reason.format(when=utc_text(candle.time), time=candle.time, volume=candle.volume, **prices)


# -- rows against each other --------------------------------------------------------------


def _drop_conflicting(bars: Bars, lines: IntArray, refusals: Refusals) -> Places:
    """Places without the rows whose time an earlier row has with other values; exact repeats stay."""
    _, first_index, group = np.unique(bars.time, return_index=True, return_inverse=True)
    if len(first_index) == len(bars):
        return np.arange(len(bars))
    earlier = first_index[group]
    same = np.ones(len(bars), dtype=bool)
    for column in bars.columns()[1:]:
        same &= column == column[earlier]
    odd = np.flatnonzero(~same)

    def reason(i: int) -> str:
        first = int(earlier[odd[i]])
        return f"{utc_text(int(bars.time[first]))} is in line {int(lines[first])} already, with other values"

    refusals.add(lines[odd], reason)
    return np.flatnonzero(same)


@dataclass(frozen=True, slots=True)
class _Ordered:
    places: Places
    repeated: int


def _in_order(bars: Bars, lines: IntArray, places: Places, refusals: Refusals) -> _Ordered:
    """The longest run of rows in ascending order, each time once.

    One wild row must not cost all that follow it, which "not after the newest so far" would.
    """
    times = bars.time[places]
    if not (np.diff(times) >= 0).all():
        kept = _longest_ascending(times)
        left_out = np.setdiff1d(np.arange(len(places)), kept)
        unsorted = places[left_out[~np.isin(times[left_out], times[kept])]]
        refusals.add(lines[unsorted], lambda i: f"{utc_text(int(bars.time[unsorted[i]]))} is out of order")
    else:
        kept, unsorted = np.arange(len(places)), places[:0]
    once = places[kept][np.append(True, np.diff(times[kept]) > 0)] if len(kept) else places
    return _Ordered(once, len(places) - len(unsorted) - len(once))


def _longest_ascending(times: IntArray) -> Places:
    """Places of a longest ascending subsequence, each time once (patience sorting).

    From the end, so that of two rows that exclude each other the earlier one stays.
    """
    tops: list[int] = []  # negated times
    top_places: list[int] = []
    following = [-1] * len(times)
    for place in range(len(times) - 1, -1, -1):
        negated = -int(times[place])
        pile = bisect_left(tops, negated)
        following[place] = top_places[pile - 1] if pile else -1
        if pile == len(tops):
            tops.append(negated)
            top_places.append(place)
        else:
            tops[pile] = negated
            top_places[pile] = place
    kept, place = [], top_places[-1] if top_places else -1
    while place != -1:
        kept.append(place)
        place = following[place]
    return np.array(kept, dtype=np.intp)


def utc_text(time_ms: int) -> str:
    """2024-12-01 13:00 UTC, finer only where the time is."""
    if not EARLIEST_MS <= time_ms < LATEST_MS:
        return f"time {time_ms}"
    moment = from_ms(time_ms)
    if time_ms % 60_000 == 0:
        return f"{moment:%Y-%m-%d %H:%M} UTC"
    return moment.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", " UTC")
