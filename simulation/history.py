"""History as a run needs it: candles with warm-up, marks, finer candles, funding; and a Feed over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from domain.errors import InvalidValue
from domain.market import Bars, FloatArray, IntArray, SeriesKey
from domain.times import from_ms
from domain.trading import FundingDue, PriceBar, Prices
from simulation.funding import NONE, FundingSchedule, schedule

if TYPE_CHECKING:
    from store.candles import CandleStore
    from store.funding import FundingStore
    from store.series_lookup import SeriesLookup


@dataclass(frozen=True, slots=True)
class CoinPlan:
    """One coin of a run: its series and its share of the equity."""

    coin: str
    key: SeriesKey
    size_percent: float


@dataclass(frozen=True, slots=True)
class HistoryTerms:
    """What decides which data a run reads. Times are ms of bar opens, [start, end)."""

    start_ms: int
    end_ms: int
    warmup_bars: int
    detail_interval: str | None
    has_funding: bool
    has_shorts: bool
    leverage: float


@dataclass(frozen=True, slots=True, eq=False)
class CoinData:
    """What was read for one coin. `bars` begins with warm-up; the traded span starts at `first`."""

    plan: CoinPlan
    bars: Bars
    first: int
    marks: Bars | None
    detail: Bars | None
    funding: FundingSchedule

    @property
    def span(self) -> Bars:
        return self.bars[self.first :]

    @property
    def gaps(self) -> int:
        """Places in the span where bars are missing."""
        return int(np.count_nonzero(np.diff(self.span.time) > self.plan.key.step_ms))

    def describe(self) -> dict[str, Any]:
        """Row of the report's `data`."""
        key, span = self.plan.key, self.span
        return {
            "coin": self.plan.coin,
            "venue": key.venue,
            "market": key.market,
            "symbol": key.symbol,
            "interval": key.interval,
            "rows": len(span),
            "first": int(span.time[0]),
            "last": int(span.time[-1]),
            "gaps": self.gaps,
            "sha256": span.sha256(),
        }


class HistoryReader:
    """Reads what a run needs from the stores. Thread-safe."""

    def __init__(self, candles: CandleStore, funding: FundingStore, lookup: SeriesLookup) -> None:
        self._candles = candles
        self._funding = funding
        self._lookup = lookup

    def read(self, coin: CoinPlan, terms: HistoryTerms) -> CoinData:
        """InvalidValue where the series has no candle in the span."""
        key = coin.key
        everything = self._candles.load(key, None, terms.end_ms)
        start = int(np.searchsorted(everything.time, terms.start_ms))
        if start == len(everything):
            raise InvalidValue(f"{key} has no candles between start_date and end_date", field="start_date")
        first = min(start, terms.warmup_bars)
        return CoinData(
            plan=coin,
            bars=everything[start - first :],
            first=first,
            marks=self._marks(key, terms),
            detail=self._detail(key, terms),
            funding=self._rates(coin, terms),
        )

    def _marks(self, key: SeriesKey, terms: HistoryTerms) -> Bars | None:
        if key.market != "perp":
            return None
        marks = self._candles.load(replace(key, market="perp-mark"), terms.start_ms, terms.end_ms)
        return marks if len(marks) else None

    def _detail(self, key: SeriesKey, terms: HistoryTerms) -> Bars | None:
        if terms.detail_interval is None:
            return None
        finer = replace(key, interval=terms.detail_interval)
        detail = self._candles.load(finer, terms.start_ms, terms.end_ms + key.step_ms)
        return detail if len(detail) else None

    def _rates(self, coin: CoinPlan, terms: HistoryTerms) -> FundingSchedule:
        """Who pays: positions on perp, levered ones, shorts. An unlevered long on spot owns its coins."""
        key = coin.key
        longs_pay = key.market == "perp" or terms.leverage > 1.0
        if not terms.has_funding or not (longs_pay or terms.has_shorts):
            return NONE
        symbol = self._lookup.funding_symbol(coin.coin, key)
        times, rates = self._funding.load(key.venue, symbol) if symbol else (NONE.times, NONE.long_rates)
        end_ms = terms.end_ms + key.step_ms
        return schedule(times, rates, terms.start_ms, end_ms, longs_pay=longs_pay, name=coin.coin)


class HistoryClock:
    """Shows the close of the row that a run is at; moved by the run."""

    def __init__(self, now_ms: int) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms

    def now(self) -> datetime:
        return from_ms(self.time_ms)


class HistoryFeed:
    """`domain.ports.Feed` over the spans of some coins: one step for each row of the union of their bars.

    Steps are handed out in order, each once: `since` goes on from where the last call ended. `rows` are the
    times (ms of bar opens) of the union.
    """

    def __init__(self, data: Sequence[CoinData], step_ms: int) -> None:
        self._step_ms = step_ms
        self._coins = {coin.plan.coin: _CoinHistory(coin, step_ms) for coin in data}
        self.rows: IntArray = np.unique(np.concatenate([coin.span.time for coin in data]))
        self._next = 0

    def since(self, coins: Sequence[str], after_ms: int, now_ms: int) -> Iterator[Prices]:
        # Rows that nobody held or ordered anything in are skipped, not owed.
        first = int(np.searchsorted(self.rows, after_ms - self._step_ms, side="right"))
        self._next = max(self._next, first)
        while self._next < len(self.rows) and int(self.rows[self._next]) + self._step_ms <= now_ms:
            time = int(self.rows[self._next])
            self._next += 1
            yield self._step(coins, time)

    def bars(self, coin: str, interval: str, count: int, now_ms: int) -> Bars:
        return self._coins[coin].closed_by(now_ms, count)

    def _step(self, coins: Sequence[str], time_ms: int) -> Prices:
        bars: dict[str, PriceBar] = {}
        due: list[FundingDue] = []
        for name in coins:
            found = self._coins[name].at(time_ms)
            if found is not None:
                bars[name] = found[0]
                due += found[1]
        if len(due) > 1:
            due.sort(key=lambda event: event.time_ms)
        return Prices(time_ms, time_ms + self._step_ms, bars, tuple(due))


class _CoinHistory:
    """One coin's bars as Python numbers, looked up by their open time."""

    def __init__(self, data: CoinData, step_ms: int) -> None:
        self._name = data.plan.coin
        self._bars = data.bars
        self._step_ms = step_ms
        span = data.span
        self._index = {time: i for i, time in enumerate(span.time.tolist())}
        self._columns = [column.tolist() for column in (span.open, span.high, span.low, span.close)]
        self._marks = _marks_of(data.marks, span)
        self._due = _due_of(data, step_ms)

    def at(self, time_ms: int) -> tuple[PriceBar, Sequence[FundingDue]] | None:
        """The bar that opens at `time_ms`, and the funding due until the coin's next bar opens."""
        i = self._index.get(time_ms)
        if i is None:
            return None
        opened, top, bottom, closed = (column[i] for column in self._columns)
        if self._marks is None:
            return PriceBar(self._name, time_ms, opened, top, bottom, closed), self._due.get(i, ())
        first, high, low = (None if np.isnan(column[i]) else float(column[i]) for column in self._marks)
        bar = PriceBar(self._name, time_ms, opened, top, bottom, closed, mark_open=first, mark_high=high, mark_low=low)
        return bar, self._due.get(i, ())

    def closed_by(self, now_ms: int, count: int) -> Bars:
        last = int(np.searchsorted(self._bars.time, now_ms - self._step_ms, side="right"))
        return self._bars[max(0, last - count) : last]


def _marks_of(marks: Bars | None, span: Bars) -> list[FloatArray] | None:
    if marks is None:
        return None
    at = np.minimum(np.searchsorted(marks.time, span.time), len(marks) - 1)
    known = marks.time[at] == span.time
    return [np.where(known, column[at], np.nan) for column in (marks.open, marks.high, marks.low)]


def _due_of(data: CoinData, step_ms: int) -> Mapping[int, list[FundingDue]]:
    """Payments by the bar they fall into: until the coin's next bar opens, however late that is."""
    schedule, span = data.funding, data.span
    due: dict[int, list[FundingDue]] = {}
    bar = np.searchsorted(span.time, schedule.times, side="right") - 1
    for i, time, rate, short in zip(
        bar.tolist(), schedule.times.tolist(), schedule.long_rates.tolist(), schedule.short_rates.tolist(), strict=True
    ):
        if i >= 0 and time < int(span.time[-1]) + step_ms:
            due.setdefault(i, []).append(FundingDue(data.plan.coin, time, rate, short))
    return due
