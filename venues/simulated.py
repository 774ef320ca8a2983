"""The simulated venue: a `MarketSource` like the others, over `SimulatedMarket` and a clock.

Nothing that lies after the clock's now is ever served. Spot and perpetual show the same prices; only the
perpetual pays funding. The venue lists coin + USDT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from domain.errors import NotFound
from domain.market import Bars, Candle, FundingRate, Instrument, OrderBook, Quote
from domain.ports import Clock
from domain.times import MINUTE_MS, SECOND_MS, ceil_ms, floor_ms, interval_ms, to_ms
from venues.simulated_coins import CoinShape, SimCoin
from venues.simulated_market import GENESIS_MS, SimulatedMarket
from venues.simulated_noise import derive_key, hash_one

__all__ = ["GENESIS_MS", "SimCoin", "SimulatedMarket", "SimulatedVenue"]

NAME = "simulated"
MARKETS = ("perp", "spot")
_QUOTED_IN = "USDT"
_MAX_DEPTH = 500


class SimulatedVenue:
    """`symbols` names the coins to list, asked anew each time, so that a coin added today has a price today."""

    def __init__(self, market: SimulatedMarket, clock: Clock, symbols: Callable[[], Iterable[str]]) -> None:
        self.market = market
        self._clock = clock
        self._symbols = symbols
        self._book_key = derive_key(market.seed, "book")

    @property
    def name(self) -> str:
        return NAME

    @property
    def earliest_ms(self) -> int:
        """Where its history begins."""
        return GENESIS_MS

    def instruments(self) -> list[Instrument]:
        return [self.instrument(symbol, market) for symbol in self._symbols() for market in MARKETS]

    def instrument(self, coin: str, market: str = "perp") -> Instrument:
        """What the venue lists for a coin; NotFound for a market that it does not have."""
        if market not in MARKETS:
            raise NotFound(f"the simulated venue has no market '{market}'; use perp or spot", field="market")
        shape = self.market.shape(coin)
        return Instrument(
            coin=coin,
            venue=NAME,
            market=market,
            symbol=coin + _QUOTED_IN,
            tick=shape.tick,
            lot=shape.lot,
            min_notional=shape.min_notional,
            max_leverage=shape.max_leverage if market == "perp" else 1.0,
        )

    def quotes(self, instruments: Sequence[Instrument]) -> list[Quote]:
        now = self._clock.now_ms()
        return [self._quote(instrument, now) for instrument in instruments]

    def candles(self, instrument: Instrument, interval: str, start: datetime, end: datetime) -> Bars:
        closed = floor_ms(self._clock.now_ms(), interval_ms(interval))
        return self.market.bars(instrument.coin, interval, to_ms(start), min(to_ms(end), closed))

    def forming(self, instrument: Instrument, interval: str) -> Candle:
        """The candle in progress, as far as the clock has come."""
        return self.market.forming(instrument.coin, interval, self._clock.now_ms())

    def span(self, instrument: Instrument, start: datetime, end: datetime) -> Candle | None:
        """The seconds that open in [start, end) of one minute, as far as the clock has come, as one candle."""
        first = ceil_ms(to_ms(start), SECOND_MS)
        last = min(to_ms(end), self._clock.now_ms() + 1)
        if last <= first or first < GENESIS_MS:
            return None
        minute = floor_ms(first, MINUTE_MS)
        path = self.market.seconds(instrument.coin, minute)
        path = path[(first - minute) // SECOND_MS : (ceil_ms(last, SECOND_MS) - minute) // SECOND_MS]
        return Candle(first, float(path[0]), float(path.max()), float(path.min()), float(path[-1]), 0.0)

    def funding(self, instrument: Instrument, start: datetime, end: datetime) -> list[FundingRate]:
        if instrument.market != "perp":
            return []
        until = min(to_ms(end), self._clock.now_ms() + 1)
        return self.market.funding(instrument.coin, to_ms(start), until)

    def order_book(self, instrument: Instrument, depth: int) -> OrderBook:
        """Levels a few ticks apart whose sizes grow away from the best price; the same for a whole second."""
        now = self._clock.now_ms()
        shape = self.market.shape(instrument.coin)
        second = now // SECOND_MS
        price = self.market.price_at(instrument.coin, now)
        bid, ask = _around(price, shape)
        scale = 10**shape.decimals
        gap = max(1, round((ask - bid) * scale / 2))
        typical = shape.dollars_a_day / 86_400 / price
        key = self._book_key ^ derive_key(0, instrument.coin)
        bids, asks = [], []
        for level in range(max(1, min(depth, _MAX_DEPTH))):
            draw = hash_one(key, second * 2 * _MAX_DEPTH + level)
            below = round(bid * scale) - level * gap
            grown = typical * (1 + level / 4)
            if below > 0:
                bids.append((below / scale, _lots(grown * (0.3 + (draw & 0xFFFF) / 40_000), shape)))
            above = round(ask * scale) + level * gap
            asks.append((above / scale, _lots(grown * (0.3 + (draw >> 16 & 0xFFFF) / 40_000), shape)))
        return OrderBook(instrument.coin, instrument.symbol, NAME, floor_ms(now, SECOND_MS), tuple(bids), tuple(asks))

    def _quote(self, instrument: Instrument, now_ms: int) -> Quote:
        coin, market = instrument.coin, self.market
        price = market.price_at(coin, now_ms)
        bid, ask = _around(price, market.shape(coin))
        minute = market.forming(coin, "1m", now_ms)
        past = market.last_day(coin, now_ms)
        before = float(past.open[0]) if len(past) else minute.open
        return Quote(
            coin=coin,
            symbol=instrument.symbol,
            source=NAME,
            price=price,
            bid=bid,
            ask=ask,
            venue_time_ms=floor_ms(now_ms, SECOND_MS),
            received_ms=now_ms,
            change_24h=price - before,
            change_percent_24h=(price / before - 1) * 100,
            high_24h=max(minute.high, float(past.high.max(initial=0.0))),
            low_24h=min(minute.low, float(past.low.min(initial=minute.low))),
            volume_24h=minute.volume + float(past.volume.sum()),
        )


def _around(price: float, shape: CoinShape) -> tuple[float, float]:
    """Bid and ask: at least a tick on either side of the last trade."""
    scale = 10**shape.decimals
    ticks = round(price * scale)
    half = max(1, round(ticks * shape.spread_rate / 2))
    return max(ticks - half, 1) / scale, (ticks + half) / scale


def _lots(size: float, shape: CoinShape) -> float:
    """At least one lot, in whole lots."""
    lots = max(1, round(size / shape.lot))
    return lots * shape.lot if shape.lot >= 1 else lots / round(1 / shape.lot)
