"""The simulated market: candles, ticks and funding as pure functions of (seed, coin, time).

A minute has an open, an extreme above, an extreme below and a close, each at a second of its own; the
seconds between are joined inside those extremes. So a minute's candle is cheap (no sixty points for each),
and still exactly the first, highest, lowest and last of the seconds that the ticker shows. Every coarser
candle is aggregated from these minutes. Prices are whole ticks, volumes multiples of a unit whose sums
are exact in a float.

History begins on Monday 30 December 2019, so that its first week is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from domain.errors import NotFound
from domain.market import Bars, Candle, FloatArray, FundingRate, IntArray
from domain.resample import divides, resample
from domain.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, ceil_ms, floor_ms, interval_ms
from venues.simulated_coins import MARKET_SIGMA, CoinShape, SimCoin, shape_coin
from venues.simulated_noise import (
    DRAWS,
    HashArray,
    bridge_table,
    derive_key,
    fat_table,
    hash_many,
    hash_one,
    normal_table,
    part,
    spread_table,
)
from venues.simulated_paths import DAY_MINUTES, Factor, FactorShape, PathBlock, Recent

GENESIS_MS = 1_577_664_000_000  # 2019-12-30 00:00 UTC, a Monday
FUNDING_STEP_MS = 8 * HOUR_MS
MINUTE_SECONDS = 60

_SECTOR_SIGMA = 0.014
_CHUNK_DAYS = 16  # minutes of so many days at once fit the processor's cache
_HOUR_BLOCK_DAYS = 28
_DAY_BLOCK_DAYS = 84
_SECOND_SHARE = 0.12  # of a minute's deviation: one second's
_POINTS_SHARE = 0.8  # sixty points reach less far than the continuous path
_FUNDING_BASE = 0.0001
_FUNDING_LIMIT = 0.003


@dataclass(frozen=True, slots=True)
class _Coin:
    shape: CoinShape
    own: Factor
    bar_key: int
    minute_key: int
    funding_key: int


class SimulatedMarket:
    """All coins of one seed. Thread-safe; nothing here knows what time it is.

    `coins`: the catalogue's coins; a coin that is not among them has a price as well, drawn from its symbol.
    Times are int milliseconds UTC from GENESIS_MS on.
    """

    def __init__(self, seed: int, coins: Iterable[SimCoin] = ()) -> None:
        self.seed = seed
        self._known = {coin.symbol: coin for coin in coins}
        self._market = Factor(seed, "market", FactorShape(MARKET_SIGMA, pull=0.0019))
        self._sectors: dict[str, Factor] = {}
        self._coins: dict[str, _Coin] = {}
        self._factor_days: Recent[PathBlock] = Recent(250)
        self._minute_days: Recent[Bars] = Recent(600)
        self._hours: Recent[Bars] = Recent(1000)
        self._days: Recent[Bars] = Recent(2000)
        self._paths: Recent[FloatArray] = Recent(1000)

    # -- coins ---------------------------------------------------------------------------

    def shape(self, symbol: str) -> CoinShape:
        """Tick, lot and temper of a coin."""
        return self._coin(symbol).shape

    def _coin(self, symbol: str) -> _Coin:
        coin = self._coins.get(symbol)
        if coin is None:
            shape = shape_coin(self.seed, self._known.get(symbol, SimCoin(symbol)), _SECTOR_SIGMA, self._known)
            calm = shape.is_stable
            own = FactorShape(
                sigma=0.0 if calm else shape.own_sigma,
                trend=shape.trend,
                jumps_a_year=0.0 if calm else 10.0,
                jump_sigmas=2.5,
            )
            name = shape.path_of
            coin = self._coins[symbol] = _Coin(
                shape,
                Factor(self.seed, f"coin/{name}", own, self._market),
                derive_key(self.seed, f"bar/{name}"),
                derive_key(self.seed, f"second/{name}"),
                derive_key(self.seed, f"funding/{name}"),
            )
        return coin

    def _sector(self, name: str) -> Factor:
        if name not in self._sectors:
            shape = FactorShape(_SECTOR_SIGMA)
            self._sectors[name] = Factor(self.seed, f"sector/{name}", shape, self._market)
        return self._sectors[name]

    # -- minutes -------------------------------------------------------------------------

    def _minutes(self, coin: _Coin, first_day: int, days: int) -> Bars:
        """1m candles of whole days [first_day, first_day + days), counted from GENESIS."""
        shape = coin.shape
        path, deviation = self._log_path(coin, first_day, days)
        price = np.exp(path)
        price *= shape.start
        scale = 10.0**shape.decimals
        start, after = price[:, :-1], price[:, 1:]
        reach = (start.reshape(days, 24, 60) * deviation[:, :, None]).reshape(days, DAY_MINUTES)
        first_minute = first_day * DAY_MINUTES
        draws = hash_many(coin.bar_key, np.arange(first_minute, first_minute + days * DAY_MINUTES))
        draws = draws.reshape(days, DAY_MINUTES)
        # In ticks from here on: whole numbers that a float holds exactly.
        open_ = np.maximum(np.rint(start * scale), 1.0)
        wobble = normal_table()[part(draws, 2)]
        wobble *= reach
        close = np.maximum(np.rint((after + _SECOND_SHARE * wobble) * scale), 1.0)
        middle, move = open_ + close, close - open_
        square = move * move
        variance = reach * (scale * np.sqrt(_POINTS_SHARE))
        variance *= variance
        up = np.sqrt(square + variance * bridge_table()[part(draws, 0)])
        down = np.sqrt(square + variance * bridge_table()[part(draws, 1)])
        high = np.maximum(np.rint((middle + up) / 2), np.maximum(open_, close))
        low = np.maximum(np.minimum(np.rint((middle - down) / 2), np.minimum(open_, close)), 1.0)
        volume = self._volume(shape, deviation, start, np.abs(move) / (scale * start), draws, first_day)
        times = GENESIS_MS + MINUTE_MS * np.arange(first_minute, first_minute + days * DAY_MINUTES, dtype=np.int64)
        return _frozen(times, *((ticks / scale).reshape(-1) for ticks in (open_, high, low, close)), volume.reshape(-1))

    def _log_path(self, coin: _Coin, first_day: int, days: int) -> tuple[FloatArray, FloatArray]:
        shape = coin.shape
        if shape.is_stable:
            return self._stable_path(coin, first_day, days)
        own = coin.own.block(first_day, days)
        path, variance = own.path, own.deviation**2
        for beta, factor in ((shape.market_beta, self._market), (shape.sector_beta, self._sector(shape.sector))):
            if beta:
                block = self._factor_block(factor, first_day, days)
                path = path + beta * block.path
                variance = variance + (beta * block.deviation) ** 2
        return path, np.sqrt(variance)

    def _factor_block(self, factor: Factor, first_day: int, days: int) -> PathBlock:
        return self._factor_days.get((id(factor), first_day, days), lambda: factor.block(first_day, days))

    def _stable_path(self, coin: _Coin, first_day: int, days: int) -> tuple[FloatArray, FloatArray]:
        """At the peg, give or take a tick or two for a few minutes; nothing accumulates."""
        index = np.arange(first_day * DAY_MINUTES - 3, (first_day + days) * DAY_MINUTES + 1)
        z = fat_table()[part(hash_many(coin.minute_key, -1 - index), 0)]
        smooth = (z[3:] + z[2:-1] + z[1:-2] + z[:-3]) / 2 * 0.00006
        rows = np.arange(days)[:, None] * DAY_MINUTES + np.arange(DAY_MINUTES + 1)
        return smooth[rows], np.full((days, 24), 0.00003)

    def _volume(
        self,
        shape: CoinShape,
        deviation: FloatArray,
        price: FloatArray,
        move: FloatArray,
        draws: HashArray,
        first_day: int,
    ) -> FloatArray:
        """Coins traded in each minute: more in busy hours and on big moves, fewer on weekends."""
        usual = shape.sigma / np.sqrt(DAY_MINUTES)
        weekday = (first_day + np.arange(len(deviation))) % 7  # GENESIS is a Monday
        dollars = np.where(weekday >= 5, 0.7, 1.0) * (shape.dollars_a_day / DAY_MINUTES)
        hourly = dollars[:, None] * np.minimum(deviation / usual, 5.0) / shape.volume_unit
        busy = np.minimum(move / usual, 12.0)
        busy *= 0.5
        busy += 0.6
        busy *= spread_table()[part(draws, 3)]
        busy *= np.repeat(hourly, 60, axis=1)
        busy /= price
        coins: FloatArray = (np.floor(busy) + 1.0) * shape.volume_unit
        return coins

    def _day(self, coin: _Coin, day: int) -> Bars:
        return self._minute_days.get((coin.shape.symbol, day), lambda: self._minutes(coin, day, 1))

    # -- candles -------------------------------------------------------------------------

    def bars(self, symbol: str, interval: str, start_ms: int, end_ms: int) -> Bars:
        """Whole candles whose open lies in [start_ms, end_ms), oldest first; none before GENESIS_MS."""
        step = interval_ms(interval)
        first = ceil_ms(max(start_ms, GENESIS_MS), step)
        last = ceil_ms(end_ms, step)  # first open that is not wanted
        if last <= first:
            return Bars.empty()
        coin = self._coin(symbol)
        if step < HOUR_MS:
            fine, fine_ms = self._minute_bars(coin, first, last), MINUTE_MS
        elif divides(DAY_MS, step):
            fine, fine_ms = self._blocks(coin, first, last, _DAY_BLOCK_DAYS, self._day_block), DAY_MS
        else:
            fine, fine_ms = self._blocks(coin, first, last, _HOUR_BLOCK_DAYS, self._hour_block), HOUR_MS
        return resample(fine, fine_ms, step)

    def _minute_bars(self, coin: _Coin, start_ms: int, end_ms: int) -> Bars:
        first, last = _day_number(start_ms), _day_number(end_ms - 1) + 1
        if last - first <= 8:
            parts = [self._day(coin, day) for day in range(first, last)]
        else:
            parts = [self._minutes(coin, day, min(_CHUNK_DAYS, last - day)) for day in range(first, last, _CHUNK_DAYS)]
        return Bars.concat(parts).between(start_ms, end_ms)

    def _blocks(self, coin: _Coin, start_ms: int, end_ms: int, days: int, make: Callable[[_Coin, int], Bars]) -> Bars:
        first, last = _day_number(start_ms) // days, _day_number(end_ms - 1) // days
        return Bars.concat([make(coin, block) for block in range(first, last + 1)]).between(start_ms, end_ms)

    def _hour_block(self, coin: _Coin, block: int) -> Bars:
        """Hours of 28 days."""

        def make() -> Bars:
            first, half = block * _HOUR_BLOCK_DAYS, _HOUR_BLOCK_DAYS // 2
            halves = [self._minutes(coin, first + k * half, half) for k in range(2)]
            return Bars.concat([resample(bars, MINUTE_MS, HOUR_MS) for bars in halves])

        return self._hours.get((coin.shape.symbol, block), make)

    def _day_block(self, coin: _Coin, block: int) -> Bars:
        """Days of 12 weeks."""

        def make() -> Bars:
            count = _DAY_BLOCK_DAYS // _HOUR_BLOCK_DAYS
            hours = [self._hour_block(coin, block * count + k) for k in range(count)]
            return resample(Bars.concat(hours), HOUR_MS, DAY_MS)

        return self._days.get((coin.shape.symbol, block), make)

    # -- seconds -------------------------------------------------------------------------

    def price_at(self, symbol: str, time_ms: int) -> float:
        """The last trade of the second that contains `time_ms`; NotFound before GENESIS_MS."""
        minute_ms = floor_ms(time_ms, MINUTE_MS)
        return float(self.seconds(symbol, minute_ms)[(time_ms - minute_ms) // SECOND_MS])

    def seconds(self, symbol: str, minute_ms: int) -> FloatArray:
        """The sixty prices of the minute that opens at `minute_ms`; its candle is their first, extremes and last."""
        if minute_ms < GENESIS_MS:
            raise NotFound("the simulated market begins on 30 December 2019")
        return self._paths.get((symbol, minute_ms), lambda: self._seconds(self._coin(symbol), minute_ms))

    def _seconds(self, coin: _Coin, minute_ms: int) -> FloatArray:
        scale = 10.0**coin.shape.decimals
        candle = self._candle(coin, minute_ms)
        open_, high, low, close = (round(p * scale) for p in (candle.open, candle.high, candle.low, candle.close))
        minute = (minute_ms - GENESIS_MS) // MINUTE_MS
        draw = hash_one(coin.minute_key, minute)
        at_high = 1 + (draw & 0xFFFF) * 58 // DRAWS
        at_low = 1 + ((draw >> 16) & 0xFFFF) * 57 // DRAWS
        at_low += at_low >= at_high  # never the same second
        knots = sorted(((0, open_), (at_high, high), (at_low, low), (59, close)))
        seconds = np.arange(MINUTE_SECONDS)
        ticks = np.interp(seconds, [second for second, _ in knots], [price for _, price in knots])
        noise = normal_table()[part(hash_many(coin.minute_key, ~(minute * MINUTE_SECONDS + seconds)), 1)]
        ticks = np.clip(np.rint(ticks + noise * (0.08 * (high - low))), low, high)
        for second, price in knots:
            ticks[second] = price
        path: FloatArray = ticks / scale
        path.setflags(write=False)
        return path

    def _candle(self, coin: _Coin, minute_ms: int) -> Candle:
        day = _day_number(minute_ms)
        return self._day(coin, day).candle((minute_ms - GENESIS_MS) // MINUTE_MS - day * DAY_MINUTES)

    def forming(self, symbol: str, interval: str, now_ms: int) -> Candle:
        """The candle in progress at `now_ms`: what its seconds have shown so far, this second included."""
        step = interval_ms(interval)
        opened = max(floor_ms(now_ms, step), GENESIS_MS)
        minute_ms = floor_ms(now_ms, MINUTE_MS)
        seen = (now_ms - minute_ms) // SECOND_MS + 1
        path = self.seconds(symbol, minute_ms)[:seen]
        unit = self._coin(symbol).shape.volume_unit
        whole = self._candle(self._coin(symbol), minute_ms).volume
        volume = whole // unit * seen // MINUTE_SECONDS * unit
        candle = Candle(opened, float(path[0]), float(path.max()), float(path.min()), float(path[-1]), volume)
        if minute_ms == opened:
            return candle
        done = self._since(symbol, opened, minute_ms)
        return Candle(
            opened,
            float(done.open[0]),
            max(float(done.high.max()), candle.high),
            min(float(done.low.min()), candle.low),
            candle.close,
            float(done.volume.sum()) + volume,
        )

    def _since(self, symbol: str, start_ms: int, end_ms: int) -> Bars:
        """Candles that cover [start_ms, end_ms) exactly, the coarser the better; both are full minutes."""
        hour = floor_ms(end_ms, HOUR_MS)
        parts = [self.bars(symbol, "1m", max(start_ms, hour), end_ms)]
        if hour > start_ms:
            parts.insert(0, self.bars(symbol, "1h", start_ms, hour))
        return Bars.concat(parts)

    def last_day(self, symbol: str, now_ms: int) -> Bars:
        """The 1m candles closed in the 24 hours before `now_ms`, for statistics."""
        minute_ms = floor_ms(now_ms, MINUTE_MS)
        return self.bars(symbol, "1m", minute_ms - DAY_MS, minute_ms)

    # -- funding -------------------------------------------------------------------------

    def funding(self, symbol: str, start_ms: int, end_ms: int) -> list[FundingRate]:
        """Rates due in [start_ms, end_ms), every eight hours; longs pay in a rising market."""
        coin = self._coin(symbol)
        first = ceil_ms(max(start_ms, GENESIS_MS + DAY_MS), FUNDING_STEP_MS)
        if first >= end_ms:
            return []
        bars = self.bars(symbol, "8h", first - DAY_MS, end_ms)
        move = np.log(bars.open[3:] / bars.open[:-3])
        due = bars.time[3:]
        z = normal_table()[part(hash_many(coin.funding_key, due // FUNDING_STEP_MS), 0)]
        if coin.shape.is_stable:
            rates = np.round(0.00002 * z, 8)
        else:
            rates = np.round(_FUNDING_BASE + 0.004 * move + 0.00005 * z, 8)
        rates = np.clip(rates, -_FUNDING_LIMIT, _FUNDING_LIMIT)
        return [FundingRate(int(time), float(rate)) for time, rate in zip(due, rates, strict=True)]


def _day_number(time_ms: int) -> int:
    return (time_ms - GENESIS_MS) // DAY_MS


def _frozen(times: IntArray, *columns: FloatArray) -> Bars:
    for column in (times, *columns):
        column.setflags(write=False)
    return Bars(times, *columns)
