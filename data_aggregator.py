"""MarketData: many venues that behave as one. Order, failover, freshness, cache.

Sources are asked in order of priority; one that fails is passed over and the answer says who gave it.
One answer never mixes venues. The simulated venue is the only source of a simulated workspace and never
one of a real workspace, so that neither fills in for the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar, runtime_checkable

import structlog

from domain.errors import InvalidValue, NoSource, NotFound, Refused, Retryable
from domain.market import Bars, Candle, FundingRate, Instrument, OrderBook, Quote, Sourced, parse_market
from domain.ports import Clock, MarketSource
from domain.times import ceil_ms, floor_ms, from_ms, interval_ms
from store.candles import CandleStore
from store.hot_cache import CacheCounts, HotCache
from store.series_lookup import SeriesLookup
from store.stored_series import Span, StoredSeries

log = structlog.get_logger(__name__)

MAX_BARS = 1000
PERP = "perp"
# Within one second of market time a quote is asked for once.
TICK_MS = 1000
EXCHANGES = "exchanges"
NO_VENUE = (
    "MARKET=exchanges: no venue answers, because the exchange venues are not part of this version yet. "
    "Imported candles can be charted and backtested; for trading on paper set MARKET=simulated."
)

Answer = TypeVar("Answer")


@runtime_checkable
class FormingSource(Protocol):
    """A source that also knows the candle in progress."""

    def forming(self, instrument: Instrument, interval: str) -> Candle: ...


@runtime_checkable
class DatedSource(Protocol):
    """A source that knows when its history begins."""

    @property
    def earliest_ms(self) -> int: ...


@runtime_checkable
class SpanSource(Protocol):
    """A source that knows what was traded within a part of a minute."""

    def span(self, instrument: Instrument, start: datetime, end: datetime) -> Candle | None:
        """All trades in [start, end), whole seconds of one minute, as one candle; None where there were none."""
        ...


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old a price is, in milliseconds of the market's clock, and whether that is too old to trade on."""

    age_ms: int
    stale: bool


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """`state`: `ok`, `down` (its last answer was an error) or `unknown` (not asked yet)."""

    state: str
    last_ok: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Candles:
    """An answer of `klines`: closed bars, where they came from, and the bar in progress where it was wanted."""

    bars: Bars
    sourced: Sourced
    forming: Candle | None = None

    def __iter__(self) -> Iterator[Any]:
        """Unpacks into bars, sourced, forming."""
        return iter((self.bars, self.sourced, self.forming))


class MarketData:
    """Prices of this workspace. Thread-safe. All times are int milliseconds of `clock`.

    `sources` by name, in order of priority. `workspace_market`: `simulated` or `exchanges`.
    """

    def __init__(
        self,
        sources: Mapping[str, MarketSource],
        store: CandleStore,
        clock: Clock,
        *,
        workspace_market: str,
        lookup: SeriesLookup | None = None,
        price_ttl_s: float = 10.0,
        kline_ttl_s: float = 60.0,
        cache_enabled: bool = True,
    ) -> None:
        self.workspace_market = workspace_market
        self._sources = dict(sources)
        self._stored = StoredSeries(store, lookup)
        self._clock = clock
        self._price_ttl_ms = int(price_ttl_s * 1000)
        self._kline_ttl_ms = int(kline_ttl_s * 1000)
        self._cache = HotCache(enabled=cache_enabled)
        self._listings: dict[str, dict[tuple[str, str], Instrument]] = {}  # by coin and market
        self._health = {name: SourceHealth("unknown") for name in self._sources}
        self._lock = threading.Lock()

    # -- instruments ---------------------------------------------------------------------

    def instruments(self, coin: str) -> list[Instrument]:
        """What the sources list for a coin, in their order; empty where none lists it."""
        found = []
        for name, source in self._sources.items():
            for market in ("perp", "spot"):
                instrument = self._listed(name, source, coin, market)
                if instrument is not None:
                    found.append(instrument)
        return found

    def instrument(self, coin: str, market: str = PERP) -> Instrument | None:
        """The first source's instrument for a coin, or None."""
        return next((instrument for instrument in self.instruments(coin) if instrument.market == market), None)

    def _listed(self, name: str, source: MarketSource, coin: str, market: str) -> Instrument | None:
        listing = self._listings.get(name)
        if listing is None or (coin, market) not in listing:
            # A coin may have been added since; venues keep their own lists and make this cheap.
            found = self._ask(name, source.instruments)
            listing = self._listings[name] = {(i.coin, i.market): i for i in reversed(found)}
        return listing.get((coin, market))

    # -- quotes --------------------------------------------------------------------------

    def quote(self, coin: str, *, market: str = PERP, max_age_ms: int | None = None) -> Quote:
        """The latest quote: of this second, or received less than `max_age_ms` ago where that is given.

        NotFound where no source lists the coin; NoSource where none answers.
        """
        found = self._quotes([coin], market, max_age_ms)
        if coin not in found:
            raise NotFound(f"{coin} is not listed on {', '.join(self._sources)}", field="coin")
        return found[coin]

    def quotes(self, coins: Iterable[str], *, market: str = PERP, max_age_ms: int | None = None) -> dict[str, Quote]:
        """The latest quotes of all coins that have one, in the order asked; NoSource where no source answers at all."""
        return self._quotes(list(coins), market, max_age_ms)

    def _quotes(self, coins: list[str], market: str, max_age_ms: int | None) -> dict[str, Quote]:
        now = self._clock.now_ms()
        since = floor_ms(now, TICK_MS) if max_age_ms is None else now - max_age_ms + 1
        found: dict[str, Quote] = {}
        for coin in coins:
            kept: Quote | None = self._cache.get(f"price:{market}:{coin}", now)
            if kept is not None and kept.received_ms >= since:
                found[coin] = kept
        missing = [coin for coin in coins if coin not in found]
        if missing:
            key = f"price:{market}:{','.join(missing)}"
            found |= self._cache.once(key, lambda: self._fetch_quotes(missing, market, now))
        return {coin: found[coin] for coin in coins if coin in found}

    def _fetch_quotes(self, coins: list[str], market: str, now: int) -> dict[str, Quote]:
        found: dict[str, Quote] = {}
        failures = []
        for name, source in self._require_sources().items():
            try:
                wanted = [c for c in coins if c not in found]
                listed = [i for c in wanted if (i := self._listed(name, source, c, market)) is not None]
                if listed:
                    for quote in self._ask(name, lambda s=source, i=listed: s.quotes(i)):  # type: ignore[misc]
                        found[quote.coin] = quote
            except (Retryable, Refused) as error:
                failures.append(f"{name}: {error}")
            if len(found) == len(coins):
                break
        if failures and not found:
            raise NoSource(f"no source answers for {', '.join(coins)} ({'; '.join(failures)})")
        for quote in found.values():
            self._cache.put(f"price:{market}:{quote.coin}", quote, now + self._price_ttl_ms, now)
        return found

    def freshness(self, quote: Quote) -> Freshness:
        """Age of a quote by its venue's time; stale beyond CACHE_PRICE_TTL."""
        return self.freshness_at(quote.venue_time_ms)

    def freshness_at(self, time_ms: int) -> Freshness:
        """The same for anything else that a venue said at `time_ms`."""
        age = max(0, self._clock.now_ms() - time_ms)
        # The limit is about this machine's real seconds; a market that runs faster has more of its own in each.
        speed = max(1.0, getattr(self._clock, "speed", 1.0))
        return Freshness(age, age > self._price_ttl_ms * speed)

    # -- candles -------------------------------------------------------------------------

    def klines(
        self,
        coin: str,
        interval: str,
        limit: int = 100,
        start_ms: int | None = None,
        end_ms: int | None = None,
        venue: str | None = None,
        market: str | None = None,
        forming: bool = False,
    ) -> Candles:
        """At most `limit` (1 to 1000) closed bars whose open lies in [start_ms, end_ms): the first ones where
        `start_ms` is given, else the newest.

        Without a venue: the workspace's market. A venue that is no source here is answered from stored
        candles. `forming` adds the bar in progress where the source knows it and no `end_ms` cuts it off.
        """
        if not 1 <= limit <= MAX_BARS:
            raise InvalidValue(f"limit is 1 to {MAX_BARS}, not {limit}", field="limit")
        step = interval_ms(interval)
        market = None if market is None else parse_market(market)
        if venue is not None and venue not in self._sources:
            key, bars = self._stored.newest_or_first(coin, venue, market, interval, Span(start_ms, end_ms, limit))
            note = "" if key.interval == interval else f"built from {key.interval} candles"
            age = _age(bars, step, self._clock.now_ms())
            return Candles(bars, Sourced(key.venue, key.market, key.symbol, age, note=note))
        if start_ms is not None:
            start_ms = max(start_ms, self._earliest_ms(venue))
        closed = floor_ms(self._clock.now_ms(), step)
        last = ceil_ms(closed if end_ms is None else min(closed, end_ms), step)
        first = last - limit * step if start_ms is None else ceil_ms(min(start_ms, last), step)
        if start_ms is not None:
            last = min(last, first + limit * step)
        bars, instrument = self._source_candles(coin, interval, first, last, venue, market)
        # The bar in progress comes after the closed ones, so only where these reach up to it.
        reaches = last == closed and (start_ms is None or start_ms <= closed)
        wanted = forming and reaches and (end_ms is None or end_ms > closed)
        live = self._forming(instrument, interval) if wanted else None
        age = 0 if live is not None else _age(bars, step, self._clock.now_ms())
        return Candles(bars, Sourced(instrument.venue, instrument.market, instrument.symbol, age), live)

    def candles(
        self, coin: str, interval: str, start_ms: int, end_ms: int, *, venue: str | None = None, market: str = PERP
    ) -> Bars:
        """All closed bars whose open lies in [start_ms, end_ms), from the workspace's market (or one source of it)."""
        return self._source_candles(coin, interval, start_ms, end_ms, venue, market)[0]

    def _source_candles(
        self, coin: str, interval: str, start_ms: int, end_ms: int, venue: str | None, market: str | None
    ) -> tuple[Bars, Instrument]:
        """From the first source that answers; NotFound where none lists the coin."""

        def fetch(source: MarketSource, instrument: Instrument) -> Bars:
            key = f"kline:{instrument.series(interval)}:{start_ms}:{end_ms}"
            now = self._clock.now_ms()
            kept: Bars | None = self._cache.get(key, now)
            if kept is not None:
                return kept
            end = from_ms(max(0, min(end_ms, now)))
            start = min(from_ms(max(0, min(start_ms, now))), end)
            made = self._cache.once(key, lambda: source.candles(instrument, interval, start, end))
            # Closed bars do not change, but a span that reaches beyond them is not complete yet.
            if len(made) <= MAX_BARS and end_ms <= floor_ms(now, interval_ms(interval)):
                self._cache.put(key, made, now + self._kline_ttl_ms, now)
            return made

        return self._first(coin, market or PERP, fetch, venue)

    def _earliest_ms(self, venue: str | None) -> int:
        """No source has candles before this: "the first 100 since 1970" begin here, as those of a stored series."""
        asked = [source for name, source in self._sources.items() if venue is None or name == venue]
        return min((source.earliest_ms if isinstance(source, DatedSource) else 0 for source in asked), default=0)

    def span(self, coin: str, start_ms: int, end_ms: int, *, market: str = PERP) -> Candle | None:
        """What was traded in [start_ms, end_ms), whole seconds of one minute; None where the source cannot tell."""
        start, end = from_ms(start_ms), from_ms(end_ms)

        def fetch(source: MarketSource, instrument: Instrument) -> Candle | None:
            return source.span(instrument, start, end) if isinstance(source, SpanSource) else None

        return self._first(coin, market, fetch)[0]

    def _forming(self, instrument: Instrument, interval: str) -> Candle | None:
        source = self._sources[instrument.venue]
        if not isinstance(source, FormingSource):
            return None
        return self._ask(instrument.venue, lambda: source.forming(instrument, interval))

    # -- the rest ------------------------------------------------------------------------

    def order_book(self, coin: str, depth: int = 20, *, market: str = PERP) -> OrderBook:
        """Levels around the price now; NotFound, NoSource as for `quote`."""

        def fetch(source: MarketSource, instrument: Instrument) -> OrderBook:
            key = f"orderbook:{instrument.venue}:{instrument.market}:{instrument.symbol}:{depth}"
            return self._cache.once(key, lambda: source.order_book(instrument, depth))

        return self._first(coin, market, fetch)[0]

    def funding(self, coin: str, start_ms: int, end_ms: int, *, market: str = PERP) -> list[FundingRate]:
        """Rates due in [start_ms, end_ms), oldest first; empty for spot."""
        now = self._clock.now_ms()
        start, end = from_ms(max(0, min(start_ms, now))), from_ms(max(0, min(end_ms, now + 1)))
        return self._first(coin, market, lambda source, i: source.funding(i, start, end))[0]

    def health(self) -> dict[str, SourceHealth]:
        """State of each source by name; one entry that says why where there is no source."""
        if not self._sources:
            return {EXCHANGES: SourceHealth("down", None, NO_VENUE)}
        for name, source in self._sources.items():
            if self._health[name].state == "unknown":
                with suppress(Retryable):
                    self._ask(name, source.instruments)
        with self._lock:
            return dict(self._health)

    def cache_counts(self) -> CacheCounts:
        """Hits and misses of the hot cache."""
        return self._cache.counts()

    # -- asking --------------------------------------------------------------------------

    def _require_sources(self) -> dict[str, MarketSource]:
        if not self._sources:
            raise NoSource(NO_VENUE)
        return self._sources

    def _first(
        self,
        coin: str,
        market: str,
        fetch: Callable[[MarketSource, Instrument], Answer],
        venue: str | None = None,
    ) -> tuple[Answer, Instrument]:
        """The first source's answer. NotFound where no source lists the coin; NoSource where none answers."""
        failures = []
        for name, source in self._require_sources().items():
            if venue is not None and name != venue:
                continue
            try:
                instrument = self._listed(name, source, coin, market)
                if instrument is not None:
                    return self._ask(name, lambda s=source, i=instrument: fetch(s, i)), instrument  # type: ignore[misc]
            except (Retryable, Refused) as error:
                failures.append(f"{name}: {error}")
        if failures:
            raise NoSource(f"no source answers for {coin} {market} ({'; '.join(failures)})")
        raise NotFound(f"{coin} has no market '{market}' on {venue or ', '.join(self._sources)}", field="coin")

    def _ask(self, name: str, call: Callable[[], Answer]) -> Answer:
        """Asks a source and keeps its health; a refusal (an unknown symbol) is an answer too."""
        try:
            answer = call()
        except Retryable as error:
            self._note(name, SourceHealth("down", self._health[name].last_ok, str(error)))
            raise
        self._note(name, SourceHealth("ok", self._clock.now_ms()))
        return answer

    def _note(self, name: str, health: SourceHealth) -> None:
        with self._lock:
            before, self._health[name] = self._health[name], health
        if before.state != health.state and "down" in (before.state, health.state):
            log.warning("market source", source=name, state=health.state, error=health.error)


def _age(bars: Bars, step_ms: int, now_ms: int) -> int:
    """Milliseconds since the last bar closed."""
    return max(0, now_ms - int(bars.time[-1]) - step_ms) if len(bars) else 0
