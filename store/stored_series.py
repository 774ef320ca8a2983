"""Stored candles of a coin for a chart: at the interval asked, or built exactly from a finer stored one."""

from __future__ import annotations

from dataclasses import dataclass

from domain.errors import NotFound
from domain.market import Bars, SeriesKey
from domain.resample import divides, resample
from domain.times import ceil_ms, floor_ms, interval_ms
from store.candles import CandleStore, SeriesInfo
from store.series_lookup import SeriesLookup

# Coarse candles read beyond the limit, in case that many are missing.
_HOLES = 50
_USUAL_MARKETS = ("spot", "perp")


@dataclass(frozen=True, slots=True)
class Span:
    """Opens in [start_ms, end_ms); the first `limit` of them where start_ms is given, else the newest."""

    start_ms: int | None
    end_ms: int | None
    limit: int

    def cut(self, bars: Bars) -> Bars:
        return bars[: self.limit] if self.start_ms is not None else bars[max(0, len(bars) - self.limit) :]


class StoredSeries:
    """Reads `CandleStore` by coin. Without a lookup, symbols are COINUSDT or the coin itself."""

    def __init__(self, store: CandleStore, lookup: SeriesLookup | None = None) -> None:
        self._store = store
        self._lookup = lookup

    def newest_or_first(
        self, coin: str, venue: str, market: str | None, interval: str, span: Span
    ) -> tuple[SeriesKey, Bars]:
        """The series that answers and its bars as `interval`; NotFound where nothing fits."""
        key, info = self._key(coin, venue, market, interval)
        if key.interval == interval:
            return key, span.cut(self._store.load(key, span.start_ms, span.end_ms))
        return key, span.cut(self._coarser(info, interval_ms(interval), span))

    def _key(self, coin: str, venue: str, market: str | None, interval: str) -> tuple[SeriesKey, SeriesInfo]:
        """The stored series of the interval, else the coarsest finer one that it can be built from."""
        markets = (market,) if market else _USUAL_MARKETS
        for place in markets:
            found = self._find(coin, venue, place, interval)
            if found is not None:
                return found
        # Looking for a series that is not there costs a query for each way to write a symbol.
        step = interval_ms(interval)
        stored = {(i.key.interval, i.key.market) for i in self._store.list() if i.key.venue == venue}
        finer = [(name, place) for name, place in stored if divides(interval_ms(name), step) and place in markets]
        for name, place in sorted(finer, key=lambda pair: (-interval_ms(pair[0]), markets.index(pair[1]))):
            found = self._find(coin, venue, place, name)
            if found is not None:
                return found
        where = " ".join(part for part in (venue, market, interval) if part)
        raise NotFound(f"no candles of {coin} are stored for {where}; import or sync them", field="venue")

    def _find(self, coin: str, venue: str, market: str, interval: str) -> tuple[SeriesKey, SeriesInfo] | None:
        if self._lookup is not None:
            named = self._lookup.find(coin, venue, market, interval)
            keys = [] if named is None else [named]
        else:
            keys = [SeriesKey(venue, market, symbol, interval) for symbol in (f"{coin}USDT", coin)]
        found = ((key, self._store.info(key)) for key in keys)
        return next(((key, info) for key, info in found if info is not None), None)

    def _coarser(self, info: SeriesInfo, step: int, span: Span) -> Bars:
        """Only candles whose whole span is stored at both ends; holes in between are a venue's outage."""
        fine = info.key.step_ms
        first, last = ceil_ms(info.first_ms, step), floor_ms(info.last_ms + fine, step)
        if span.end_ms is not None:
            last = min(last, ceil_ms(span.end_ms, step))
        reach = (span.limit + _HOLES) * step
        if span.start_ms is not None:
            first = max(first, ceil_ms(span.start_ms, step))
            last = min(last, first + reach)
        else:
            first = max(first, last - reach)
        return resample(self._store.load(info.key, first, max(first, last)), fine, step)
