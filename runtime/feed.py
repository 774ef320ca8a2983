"""LiveFeed: the prices that a paper or live account settles on.

Time is cut into steps so that no step is delivered twice and none is lost, wherever the calls fall and
whatever dies between them:

- A 1m candle is a step that ends on a full minute. It carries the funding due in [open, end).
- A part of a minute is a step where the source can tell what was traded in it: the rest of the minute in
  which an absence began, which ends like a candle, and the seconds before the quote that ends it.
- A quote is a step at its venue's time. A quote of a full minute counts a millisecond earlier, so that
  the end of a step tells which of the two it was: funding at that very minute is still to come after
  a candle, and after such a quote too. It carries the funding due since the step before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from data_aggregator import PERP, MarketData
from domain.errors import NotFound
from domain.market import Bars, Quote
from domain.times import DAY_MS, MINUTE_MS, SECOND_MS, ceil_ms, floor_ms, interval_ms
from domain.trading import FundingDue, PriceBar, Prices

# An absence longer than this is caught up with candles; a shorter one is bridged by the next quote.
ABSENCE_MS = 90_000
_CHUNK_MS = DAY_MS


class LiveFeed:
    """Implements domain.ports.Feed over MarketData. Keeps nothing, so any number of engines may share it."""

    def __init__(self, market_data: MarketData, market: str = PERP) -> None:
        self._data = market_data
        self._market = market

    def since(self, coins: Sequence[str], after_ms: int, now_ms: int) -> Iterator[Prices]:
        """The steps that end in (after_ms, now_ms], oldest first; read day by day, as they are asked for.

        After more than 90 s: what was traded since, in 1m candles and in parts of the first and the last
        minute where the source knows those, then the latest quote. A coin that no source lists is left out.
        NoSource where nobody answers; what came before it stays valid.
        """
        done = after_ms
        if now_ms - after_ms > ABSENCE_MS:
            for step in self._missed(coins, after_ms, now_ms):
                yield step
                done = step.end_ms
        quote = self._quote_step(coins, done, now_ms)
        if quote is not None:
            yield quote

    def bars(self, coin: str, interval: str, count: int, now_ms: int) -> Bars:
        """The last `count` candles closed by `now_ms`, oldest first; fewer where fewer exist."""
        step = interval_ms(interval)
        end = floor_ms(now_ms, step)
        return self._data.candles(coin, interval, end - count * step, end, market=self._market)

    def _missed(self, coins: Sequence[str], after_ms: int, now_ms: int) -> Iterator[Prices]:
        """What was traded between the second of `after_ms` and that of `now_ms`."""
        first, last = ceil_ms(after_ms, MINUTE_MS), floor_ms(now_ms, MINUTE_MS)
        done = after_ms
        for step in self._part(coins, floor_ms(after_ms, SECOND_MS) + SECOND_MS, first, done):
            yield step
            done = step.end_ms
        for start in range(first, last, _CHUNK_MS):
            for step in self._minutes(coins, start, min(start + _CHUNK_MS, last), done):
                yield step
                done = step.end_ms
        yield from self._part(coins, last, floor_ms(now_ms, SECOND_MS), done)

    def _part(self, coins: Sequence[str], start_ms: int, end_ms: int, done_ms: int) -> Iterator[Prices]:
        """The seconds [start_ms, end_ms) of one minute as one step, or none."""
        if end_ms <= start_ms:
            return
        bars = {}
        for coin in coins:
            with suppress(NotFound):
                found = self._data.span(coin, start_ms, end_ms, market=self._market)
                if found is not None:
                    bars[coin] = PriceBar(coin, start_ms, found.open, found.high, found.low, found.close)
        if bars:
            # Short of a full minute it ends before the second of the quote that comes next.
            end = end_ms if end_ms % MINUTE_MS == 0 else end_ms - 1
            due = self._funding(coins, _owed_from(done_ms), end_ms)
            yield Prices(start_ms, end, bars, due)

    def _minutes(self, coins: Sequence[str], start_ms: int, end_ms: int, done_ms: int) -> Iterator[Prices]:
        """1m candles that open in [start_ms, end_ms), with the funding due since `done_ms`."""
        bars: dict[int, dict[str, PriceBar]] = {}
        for coin in coins:
            for time, bar in self._price_bars(coin, start_ms, end_ms):
                bars.setdefault(time, {})[coin] = bar
        due = self._funding(coins, _owed_from(done_ms), end_ms)
        for time in sorted(bars):
            end = time + MINUTE_MS
            mine = tuple(item for item in due if item.time_ms < end)
            due = due[len(mine) :]
            yield Prices(time, end, bars[time], mine)

    def _price_bars(self, coin: str, start_ms: int, end_ms: int) -> Iterator[tuple[int, PriceBar]]:
        try:
            found = self._data.candles(coin, "1m", start_ms, end_ms, market=self._market)
        except NotFound:
            return
        columns = (column.tolist() for column in (found.time, found.open, found.high, found.low, found.close))
        for time, open_, high, low, close in zip(*columns, strict=True):
            yield time, PriceBar(coin, time, open_, high, low, close)

    def _quote_step(self, coins: Sequence[str], done_ms: int, now_ms: int) -> Prices | None:
        """The latest fresh quotes as one step; None where none is newer than `done_ms`."""
        quotes = self._data.quotes(coins, market=self._market)
        fresh = [quote for quote in quotes.values() if not self._data.freshness(quote).stale]
        times = {quote.coin: _quote_time(quote, now_ms) for quote in fresh}
        fresh = [quote for quote in fresh if times[quote.coin] > done_ms]
        if not fresh:
            return None
        time = max(times[quote.coin] for quote in fresh)
        due = self._funding(coins, _owed_from(done_ms), time + 1)
        return Prices(time, time, {quote.coin: _quote_bar(quote, time) for quote in fresh}, due)

    def _funding(self, coins: Sequence[str], start_ms: int, end_ms: int) -> tuple[FundingDue, ...]:
        """Due in [start_ms, end_ms), oldest first, at full minutes."""
        if ceil_ms(start_ms, MINUTE_MS) >= end_ms:
            return ()
        due = []
        for coin in coins:
            try:
                # Stamps are late by up to a minute where venues are; the store knows only full minutes.
                found = self._data.funding(coin, start_ms, end_ms, market=self._market)
            except NotFound:
                continue
            due += [FundingDue(coin, rate.time_ms, rate.rate) for rate in found]
        return tuple(sorted(due, key=lambda item: item.time_ms))


def _owed_from(done_ms: int) -> int:
    """The first time whose funding the step that ended at `done_ms` has not delivered."""
    return done_ms if done_ms % MINUTE_MS == 0 else done_ms + 1


def _quote_time(quote: Quote, now_ms: int) -> int:
    time = min(quote.venue_time_ms, now_ms)
    return time - 1 if time % MINUTE_MS == 0 else time


def _quote_bar(quote: Quote, time_ms: int) -> PriceBar:
    price = quote.price
    bar = PriceBar(quote.coin, time_ms, price, price, price, price)
    return replace(bar, bid=quote.bid, ask=quote.ask)
