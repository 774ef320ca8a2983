"""FundingStore: funding rates of perpetuals, one Arrow file for each venue and symbol."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import structlog

from domain.errors import BadData
from domain.market import Bars, FloatArray, IntArray
from domain.times import MINUTE_MS
from store.bar_checks import EARLIEST_MS, LATEST_MS, Refusals, order_bars
from store.dump_parser import read_parquet
from store.series_edit import MergeResult, SeriesEdit
from store.series_file import (
    SUFFIX,
    decode_name,
    encode_name,
    locked,
    map_columns,
    remove_file,
    save_columns,
)
from store.series_names import VENUES, NameParts

COLUMNS = ("timestamp", "funding_rate")
# A period's rate of 100 % of the notional: venues cap theirs at a few percent.
MAX_RATE = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FundingInfo:
    venue: str
    symbol: str
    rows: int
    first_ms: int
    last_ms: int

    def to_dict(self) -> dict[str, str | int]:
        """The columns of `flask funding list --json`; times are ms UTC."""
        names: dict[str, str | int] = {"venue": self.venue, "symbol": self.symbol}
        return names | {"rows": self.rows, "first": self.first_ms, "last": self.last_ms}


@dataclass(frozen=True, slots=True)
class FundingRows:
    """One file's good rates at full minutes, ascending; the counts of the others."""

    venue: str
    symbol: str
    rows: int
    times: IntArray
    rates: FloatArray
    repeated: int
    refusals: Refusals


class FundingStore:
    """Files VENUE/SYMBOL.arrow below `root`. Thread-safe, and for several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> builtins.list[FundingInfo]:
        """All stored series, ordered by venue and symbol. A damaged file is logged and left out."""
        return sorted(self._infos(), key=lambda info: (info.venue, info.symbol))

    def load(
        self, venue: str, symbol: str, start_ms: int | None = None, end_ms: int | None = None
    ) -> tuple[IntArray, FloatArray]:
        """Times (int64 ms, full minutes, ascending) and rates (fractions) due in [start_ms, end_ms); read-only."""
        times, rates = self._read(self._path(venue, symbol))
        first = 0 if start_ms is None else int(np.searchsorted(times, start_ms))
        last = len(times) if end_ms is None else int(np.searchsorted(times, end_ms))
        return times[first : max(first, last)], rates[first : max(first, last)]

    def merge(self, venue: str, symbol: str, times: IntArray, rates: FloatArray, replace: bool = False) -> MergeResult:
        """Adds what is not stored; a stored rate that differs stays unless `replace`. Atomic.

        Times must ascend; they are floored to the full minute. BadData where they do not or a rate is absurd.
        """
        times = times // MINUTE_MS * MINUTE_MS
        if not (np.abs(rates) <= MAX_RATE).all():
            raise BadData(f"{venue} {symbol}: a funding rate is beyond {MAX_RATE} or not a number")
        path = self._path(venue, symbol)
        with locked(path.parent):
            stored_times, stored_rates = self._read(path)
            edit = SeriesEdit(_as_bars(stored_times, stored_rates), replace=replace)
            result = edit.add(_as_bars(times, rates))
            if edit.changed:
                bars = edit.bars()
                save_columns(path, dict(zip(COLUMNS, (bars.time, bars.close), strict=True)),
                             {"venue": venue, "symbol": symbol})  # fmt: skip
        return result

    def delete(self, venue: str, symbol: str) -> bool:
        """Removes a series; False where there was none."""
        path = self._path(venue, symbol)
        existed = path.exists()
        if existed:
            with locked(path.parent):
                remove_file(path)
        return existed

    def _path(self, venue: str, symbol: str) -> Path:
        folder = self.root / encode_name(venue, field="venue")
        return folder / f"{encode_name(symbol, field='symbol')}{SUFFIX}"

    def _read(self, path: Path) -> tuple[IntArray, FloatArray]:
        try:
            times, rates = map_columns(path, COLUMNS)
        except FileNotFoundError:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
        return times, rates

    def _infos(self) -> Iterator[FundingInfo]:
        for path in self.root.glob(f"*/*{SUFFIX}"):
            if path.name.startswith("."):
                continue
            try:
                times, _ = self._read(path)
            except BadData as error:
                _log.error("series_damaged", series=str(path), reason=str(error))
                continue
            if len(times):
                venue, symbol = decode_name(path.parent.name), decode_name(path.stem)
                yield FundingInfo(venue, symbol, len(times), int(times[0]), int(times[-1]))


def _as_bars(times: IntArray, rates: FloatArray) -> Bars:
    """Funding merges as candles do: a rate is a bar whose prices are all the same."""
    return Bars(times, rates, rates, rates, rates, rates)


def read_funding(path: Path, given: NameParts | None = None, where: PurePath | None = None) -> FundingRows:
    """One Parquet file (timestamp int64 ms, funding_rate); .../VENUE/SYMBOL.parquet where the names are not given.

    `where` is the path that tells, if not its own. Stamps that are late by up to a minute belong to the
    full minute. BadData where it cannot be read or nobody says which venue it is of.
    """
    where = where or PurePath(path.absolute())
    folder = where.parent.name.lower()
    told = NameParts(venue=folder if folder in VENUES else None, symbol=where.stem)
    names = (given or NameParts()).or_else(told)
    if not names.venue:
        raise BadData("the path does not tell the venue; say it (--venue)")
    times, rates = read_parquet(path, COLUMNS)
    refusals = Refusals()
    lines = np.arange(1, len(times) + 1, dtype=np.int64)
    odd = ~(np.abs(rates) <= MAX_RATE)
    wild = ~odd & ((times < EARLIEST_MS) | (times >= LATEST_MS))
    bad, far = np.flatnonzero(odd), np.flatnonzero(wild)
    refusals.add(lines[bad], lambda i: f"rate {rates[bad[i]]} is not a number within -{MAX_RATE:g} to {MAX_RATE:g}")
    refusals.add(lines[far], lambda i: f"time {times[far[i]]} is outside 2009 to 2100; milliseconds belong here")
    good = np.flatnonzero(~odd & ~wild)
    minutes = times[good] // MINUTE_MS * MINUTE_MS
    checked = order_bars(_as_bars(minutes, rates[good]), lines[good], refusals)
    key = names.venue, names.symbol or ""
    return FundingRows(*key, len(times), checked.bars.time, checked.bars.close, checked.repeated, refusals)
