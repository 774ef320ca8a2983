"""CandleStore: every stored series of candles, one Arrow file each with a live tail in SQLite."""

from __future__ import annotations

import builtins
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import structlog

from database import Database
from domain.errors import BadData
from domain.market import MARKETS, Bars, IntArray, SeriesKey, parse_market
from domain.times import INTERVALS_MS, interval_ms
from store.live_tail import LiveTail
from store.series_edit import MergeResult, SeriesEdit, join, take
from store.series_file import (
    SUFFIX,
    Stamp,
    decode_name,
    encode_name,
    locked,
    map_columns,
    remove_file,
    save_columns,
    stamp_of,
)

__all__ = ["COLUMNS", "CandleStore", "MergeResult", "SeriesInfo", "missing_spans"]

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
# A tail of this many rows is moved into the file: reading it costs some 2 ms, rewriting a file of a
# million rows some 100 ms, and at one minute a bar it comes twice a day.
TAIL_ROWS = 1000
# Each mapped series holds a file descriptor.
MAPPED_SERIES = 128

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """A stored series. `gaps`: places where bars are missing (a hole of three bars is one gap)."""

    key: SeriesKey
    rows: int
    first_ms: int
    last_ms: int
    gaps: int

    def to_dict(self) -> dict[str, str | int]:
        """The columns of `flask candles list --json`; times are ms UTC of bar opens."""
        key = self.key
        series: dict[str, str | int] = {"venue": key.venue, "market": key.market, "symbol": key.symbol}
        series |= {"interval": key.interval, "rows": self.rows}
        return series | {"first": self.first_ms, "last": self.last_ms, "gaps": self.gaps}


@dataclass(frozen=True, slots=True)
class _Mapped:
    stamp: Stamp
    bars: Bars
    gaps: int | None = None


def missing_spans(times: IntArray, step_ms: int) -> builtins.list[tuple[int, int]]:
    """Missing open times between stored ones, as [from_ms, to_ms) each."""
    before = np.flatnonzero(np.diff(times) > step_ms)
    return [(int(times[i]) + step_ms, int(times[i + 1])) for i in before]


def count_gaps(times: IntArray, step_ms: int) -> int:
    return int(np.count_nonzero(np.diff(times) > step_ms))


class CandleStore:
    """Stored candles below `root`: VENUE/MARKET/SYMBOL/INTERVAL.arrow, and the tail in the database.

    Thread-safe, and several processes may work on one root: each sees the others' changes at its
    next read. Where file and tail both have a bar, the file's counts. Bars come back as read-only
    views of mapped files wherever no tail has to be joined to them.
    """

    def __init__(self, root: Path, database: Database) -> None:
        self.root = root
        self._tail = LiveTail(database)
        self._mapped: OrderedDict[SeriesKey, _Mapped] = OrderedDict()
        self._tail_rows: dict[SeriesKey, int] = {}
        self._lock = Lock()

    # -- reading --------------------------------------------------------------------------

    def list(self) -> builtins.list[SeriesInfo]:
        """All stored series, ordered by key. A damaged file is logged and left out."""
        # The tails before the files, as in info().
        in_tail = set(self._tail.keys())
        keys = sorted({*in_tail, *self._file_keys()})
        found = []
        for key in keys:
            try:
                info = self._info(key, None if key in in_tail else Bars.empty())
            except BadData as error:
                _log.error("series_damaged", series=str(key), reason=str(error))
                continue
            if info is not None:
                found.append(info)
        return found

    def info(self, key: SeriesKey) -> SeriesInfo | None:
        """None where nothing is stored."""
        return self._info(key)

    def _info(self, key: SeriesKey, tail: Bars | None = None) -> SeriesInfo | None:
        # The tail is read before the file throughout: compact() writes the file before it clears
        # the tail, so that a reader in between sees a bar twice, never not at all.
        path = self._path(key)
        tail = self._tail.load(key) if tail is None else tail
        mapped = self._map(key, path)
        if mapped is not None and not len(tail):
            times, gaps = mapped.bars.time, self._gaps_of(key, mapped)
        else:
            times = tail.time if mapped is None else np.union1d(mapped.bars.time, tail.time)
            gaps = count_gaps(times, key.step_ms)
        if not len(times):
            return None
        return SeriesInfo(key, len(times), int(times[0]), int(times[-1]), gaps)

    def load(self, key: SeriesKey, start_ms: int | None = None, end_ms: int | None = None) -> Bars:
        """Bars whose open lies in [start_ms, end_ms), oldest first; empty where nothing is stored."""
        path = self._path(key)
        tail = self._tail.load(key, start_ms, end_ms)
        mapped = self._map(key, path)
        if mapped is None:
            return tail
        return join(mapped.bars.between(start_ms, end_ms), tail)

    def gaps(self, key: SeriesKey) -> builtins.list[tuple[int, int]]:
        """Spans of missing open times, [from_ms, to_ms) each, oldest first."""
        return missing_spans(self.load(key).time, key.step_ms)

    # -- writing --------------------------------------------------------------------------

    def merge(self, key: SeriesKey, bars: Bars, replace: bool = False) -> MergeResult:
        """Adds what is not stored; a stored bar with other values stays unless `replace`. Atomic."""
        with self.edit(key, replace=replace) as edit:
            return edit.add(bars)

    @contextmanager
    def edit(self, key: SeriesKey, *, replace: bool = False) -> Iterator[SeriesEdit]:
        """Many merges into one series, written at once when the block ends; nothing if it raises.

        Holds the lock of the symbol's folder: other writers of this symbol wait.
        """
        path = self._path(key)
        with locked(path.parent):
            yield from self._edit_locked(key, path, replace)

    def append(self, key: SeriesKey, bars: Bars) -> None:
        """Adds closed live bars to the tail; a time that is stored already is left alone."""
        self.append_many([(key, bars)])

    def append_many(self, series: Iterable[tuple[SeriesKey, Bars]]) -> None:
        """The same for several series in one transaction."""
        fresh = [(key, self._not_in_file(key, bars)) for key, bars in series]
        self._tail.insert(fresh)
        for key, bars in fresh:
            if len(bars) and self._count_tail(key, len(bars)) >= TAIL_ROWS:
                self.compact(key, wait=False)

    def compact(self, key: SeriesKey, *, wait: bool = True) -> bool:
        """Moves the tail into the file. False where another writer is busy and `wait` is false."""
        path = self._path(key)
        with locked(path.parent, wait=wait) as mine:
            if not mine:
                return False
            for edit in self._edit_locked(key, path, False):
                edit.changed = True
        return True

    def delete(self, key: SeriesKey) -> bool:
        """Removes a series, a damaged one too; False where there was none."""
        path = self._path(key)
        existed = path.exists() or self._tail.count(key) > 0
        if not existed:
            return False
        with locked(path.parent):
            self._tail.delete(key)
            remove_file(path)
        with self._lock:
            self._mapped.pop(key, None)
            self._tail_rows.pop(key, None)
        return True

    # -- inside ---------------------------------------------------------------------------

    def _edit_locked(self, key: SeriesKey, path: Path, replace: bool) -> Iterator[SeriesEdit]:
        tail = self._tail.load(key)
        mapped = self._map(key, path)
        stored = tail if mapped is None else join(mapped.bars, tail)
        edit = SeriesEdit(stored, replace=replace)
        yield edit
        if edit.changed:
            bars = edit.bars()
            if len(bars):
                # File first, then the tail: killed in between, the bars are in both and count once.
                self._save(key, path, bars)
            if len(tail):
                self._tail.delete(key, tail.time)
        with self._lock:
            self._tail_rows.pop(key, None)

    def _save(self, key: SeriesKey, path: Path, bars: Bars) -> None:
        names = {"venue": key.venue, "market": key.market, "symbol": key.symbol, "interval": key.interval}
        save_columns(path, dict(zip(COLUMNS, bars.columns(), strict=True)), names)

    def _path(self, key: SeriesKey) -> Path:
        interval_ms(key.interval)
        folder = self.root / encode_name(key.venue, field="venue") / parse_market(key.market)
        return folder / encode_name(key.symbol, field="symbol") / f"{key.interval}{SUFFIX}"

    def _file_keys(self) -> Iterator[SeriesKey]:
        for path in self.root.glob(f"*/*/*/*{SUFFIX}"):
            venue, market, symbol = (decode_name(part) for part in path.relative_to(self.root).parts[:3])
            if market in MARKETS and path.stem in INTERVALS_MS:
                yield SeriesKey(venue, market, symbol, path.stem)

    def _map(self, key: SeriesKey, path: Path) -> _Mapped | None:
        while True:
            stamp = stamp_of(path)
            with self._lock:
                known = self._mapped.get(key)
                if known is not None and known.stamp == stamp:
                    self._mapped.move_to_end(key)
                    return known
            if stamp is None:
                return None
            try:
                columns = map_columns(path, COLUMNS)
            except FileNotFoundError:
                continue  # deleted since
            if stamp_of(path) == stamp:  # else it was replaced between the two: look again
                return self._remember(key, _Mapped(stamp, Bars(*columns)))

    def _remember(self, key: SeriesKey, mapped: _Mapped) -> _Mapped:
        with self._lock:
            self._mapped[key] = mapped
            self._mapped.move_to_end(key)
            while len(self._mapped) > MAPPED_SERIES:
                self._mapped.popitem(last=False)
        return mapped

    def _gaps_of(self, key: SeriesKey, mapped: _Mapped) -> int:
        if mapped.gaps is not None:
            return mapped.gaps
        gaps = count_gaps(mapped.bars.time, key.step_ms)
        self._remember(key, _Mapped(mapped.stamp, mapped.bars, gaps))
        return gaps

    def _not_in_file(self, key: SeriesKey, bars: Bars) -> Bars:
        if (np.diff(bars.time) <= 0).any():
            raise BadData(f"{key}: bars are not in ascending order of their open times")
        mapped = self._map(key, self._path(key))
        if mapped is None or not len(bars) or bars.time[0] > mapped.bars.time[-1]:
            return bars
        stored = mapped.bars.between(int(bars.time[0]), int(bars.time[-1]) + 1)
        return take(bars, np.flatnonzero(~np.isin(bars.time, stored.time)))

    def _count_tail(self, key: SeriesKey, added: int) -> int:
        with self._lock:
            known = self._tail_rows.get(key)
        rows = self._tail.count(key) if known is None else known + added
        with self._lock:
            self._tail_rows[key] = rows
        return rows
