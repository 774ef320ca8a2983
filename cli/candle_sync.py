"""Fetching candles into the store: only what is missing, in pages, so that a run cut off goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from data_aggregator import PERP, MarketData
from domain.errors import NoSource, NotFound
from domain.market import Bars, Instrument, SeriesKey, parse_market
from domain.times import ceil_ms, floor_ms
from store.bar_checks import Refusals, check_bars
from store.candles import CandleStore, missing_spans

# Bars asked for at once, and bars kept in memory before they are written (a file is written as a whole).
PAGE_BARS = 10_000
WRITE_BARS = 100_000


@dataclass(frozen=True, slots=True)
class SyncReport:
    """`missing`: bars of the span that were not stored before; `stored` of them are now."""

    key: SeriesKey
    missing: int
    stored: int
    refused: int


def find_instrument(market_data: MarketData, coin: str, venue: str | None, market: str | None) -> Instrument:
    """What to fetch a coin from; NoSource for a venue that cannot be asked, NotFound for what it does not list."""
    market = parse_market(market) if market else None
    listed = market_data.instruments(coin)
    health = market_data.health()
    if all(state.state == "down" for state in health.values()):
        raise NoSource("; ".join(state.error or name for name, state in health.items()))
    sources = {instrument.venue for instrument in listed} or set(health)
    if venue is not None and venue not in sources:
        names = ", ".join(sorted(sources))
        raise NoSource(f"{venue} cannot be asked for candles here (sources: {names}); import its files instead")
    fitting = [i for i in listed if i.venue == (venue or i.venue) and i.market == (market or i.market)]
    # As everywhere: the perpetual where nothing is said.
    fitting.sort(key=lambda instrument: instrument.market != PERP)
    if not fitting:
        wanted = " ".join(part for part in (coin, market, f"on {venue}" if venue else None) if part)
        raise NotFound(f"no source lists {wanted}", field="coin")
    return fitting[0]


def missing_in(store: CandleStore, key: SeriesKey, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Spans of opens in [start_ms, end_ms) that are not stored, oldest first; both ends are bar opens."""
    step = key.step_ms
    stored = store.load(key, start_ms, end_ms).time
    fenced = np.concatenate(([start_ms - step], stored, [end_ms]))
    return missing_spans(fenced, step)


def sync_series(
    market_data: MarketData,
    store: CandleStore,
    instrument: Instrument,
    interval: str,
    since_ms: int,
    now_ms: int,
    progress: Callable[[int, int], None],
) -> SyncReport:
    """Fetches the closed bars from `since_ms` on; `progress(done, all)` counts bars.

    What was fetched before an error or an interruption is stored; the next run fetches the rest.
    """
    key = instrument.series(interval)
    step = key.step_ms
    spans = missing_in(store, key, ceil_ms(since_ms, step), floor_ms(now_ms, step))
    missing = sum((end - start) // step for start, end in spans)
    done = stored = 0
    refusals = Refusals()
    waiting: list[Bars] = []
    progress(0, missing)

    def write() -> int:
        if not waiting:
            return 0
        found = Bars.concat(waiting)
        waiting.clear()
        return store.merge(key, found).stored

    try:
        for start, end in _pages(spans, step):
            bars = market_data.candles(
                instrument.coin, interval, start, end, venue=instrument.venue, market=instrument.market
            )
            places = np.arange(1, len(bars) + 1, dtype=np.int64)
            waiting.append(check_bars(bars, places, step, refusals, now_ms).bars)
            done += (end - start) // step
            progress(done, missing)
            if sum(map(len, waiting)) >= WRITE_BARS:
                stored += write()
    finally:
        stored += write()
    return SyncReport(key, missing, stored, refusals.count)


def _pages(spans: list[tuple[int, int]], step: int) -> Iterator[tuple[int, int]]:
    for start, end in spans:
        for first in range(start, end, PAGE_BARS * step):
            yield first, min(first + PAGE_BARS * step, end)
