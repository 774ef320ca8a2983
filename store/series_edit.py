"""Merging bars into a series: pure arithmetic on arrays, no files."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from domain.errors import BadData
from domain.market import Bars, Candle, IntArray

# Differences listed with their values; the rest are counted.
SHOWN_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """One bar that is stored with other values than those given."""

    stored: Candle
    given: Candle


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What a merge did. The four counts add up to the bars given.

    `different`: bars stored with other values and kept; `replaced`: the same, overwritten because
    that was asked. `differences` shows the first of both.
    """

    stored: int = 0
    unchanged: int = 0
    different: int = 0
    replaced: int = 0
    differences: tuple[Difference, ...] = field(default=())


def join(first: Bars, second: Bars) -> Bars:
    """Union by time, ascending; where both have a bar, the one of `first`. No copy where one is empty."""
    if not len(second):
        return first
    if not len(first):
        return second
    _, found = _match(first.time, second.time)
    if found.any():
        second = take(second, np.flatnonzero(~found))
        if not len(second):
            return first
    both = Bars.concat([first, second])
    if second.time[0] > first.time[-1]:
        return both
    return take(both, np.argsort(both.time, kind="stable"))


class SeriesEdit:
    """Collects bars for one series; what is stored stays unless `replace`.

    Many small files in order cost their own size each: the stored bars are copied once, at the end.
    """

    def __init__(self, stored: Bars, *, replace: bool = False) -> None:
        self._stored = stored
        self._replace = replace
        self._added = Bars.empty()
        self._later: list[Bars] = []  # each after all of the added bars, not yet joined to them
        self.changed = False

    def add(self, bars: Bars) -> MergeResult:
        """Counts against everything stored and added so far. BadData unless times ascend strictly."""
        if not len(bars):
            return MergeResult()
        if (np.diff(bars.time) <= 0).any():
            raise BadData("bars are not in ascending order of their open times")
        self._stored, rest, known = self._compare(self._stored, bars)
        results = [known]
        if self._overlaps_added(rest):
            self._added = self._joined_added()
            self._later = []
            self._added, rest, again = self._compare(self._added, rest)
            results.append(again)
        if len(rest):
            if self._overlaps_added(rest):
                self._added = join(self._added, rest)
            else:
                self._later.append(rest)
            results.append(MergeResult(stored=len(rest)))
        total = _sum(results)
        self.changed = self.changed or bool(total.stored or total.replaced)
        return total

    def bars(self) -> Bars:
        """The series as it is now, in memory of its own or as views of what was stored."""
        return join(self._stored, self._joined_added())

    def _joined_added(self) -> Bars:
        return Bars.concat([self._added, *self._later])

    def _overlaps_added(self, bars: Bars) -> bool:
        last = self._later[-1] if self._later else self._added
        return bool(len(bars) and len(last) and bars.time[0] <= last.time[-1])

    def _compare(self, stored: Bars, bars: Bars) -> tuple[Bars, Bars, MergeResult]:
        """The stored bars (replaced where they were to be), the bars not among them, and the counts."""
        places, found = _match(stored.time, bars.time)
        if not found.any():
            return stored, bars, MergeResult()
        places, given = places[found], take(bars, np.flatnonzero(found))
        equal = np.ones(len(given), dtype=bool)
        for held, new in zip(stored.columns()[1:], given.columns()[1:], strict=True):
            equal &= held[places] == new
        odd = np.flatnonzero(~equal)
        differences = tuple(
            Difference(stored.candle(int(places[i])), given.candle(int(i))) for i in odd[:SHOWN_DIFFERENCES]
        )
        if len(odd) and self._replace:
            stored = take(stored, np.arange(len(stored)))
            for old, new in zip(stored.columns()[1:], given.columns()[1:], strict=True):
                old[places[odd]] = new[odd]
        result = MergeResult(
            unchanged=len(given) - len(odd),
            different=0 if self._replace else len(odd),
            replaced=len(odd) if self._replace else 0,
            differences=differences,
        )
        rest = take(bars, np.flatnonzero(~found)) if len(given) < len(bars) else Bars.empty()
        return stored, rest, result


def _match(times: IntArray, wanted: IntArray) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Places in `times` where `wanted` would be, and whether each is there."""
    if not len(times):
        return np.zeros(len(wanted), dtype=np.intp), np.zeros(len(wanted), dtype=bool)
    places = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    return places, times[places] == wanted


def take(bars: Bars, places: NDArray[np.intp]) -> Bars:
    """The bars at `places`, copied."""
    return Bars(
        bars.time[places],
        bars.open[places],
        bars.high[places],
        bars.low[places],
        bars.close[places],
        bars.volume[places],
    )


def _sum(results: list[MergeResult]) -> MergeResult:
    shown = [difference for result in results for difference in result.differences]
    return MergeResult(
        stored=sum(r.stored for r in results),
        unchanged=sum(r.unchanged for r in results),
        different=sum(r.different for r in results),
        replaced=sum(r.replaced for r in results),
        differences=tuple(shown[:SHOWN_DIFFERENCES]),
    )
