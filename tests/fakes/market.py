"""A market whose prices a test writes down, and a trader who says what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from domain.market import Bars
from domain.times import floor_ms, interval_ms
from domain.trading import Action, Decision, FundingDue, MarketView, PriceBar, Prices


class ScriptedFeed:
    """Quotes by time, candles by coin. `quote(time, BTC=100)` adds one; candles close at a constant price.

    `asked` keeps what `since` was asked for.
    """

    def __init__(self, bars: Mapping[str, Sequence[tuple[int, float]]] | None = None) -> None:
        self._quotes: list[tuple[int, dict[str, tuple[float, float, float]]]] = []
        self._bars = {coin: sorted(rows) for coin, rows in (bars or {}).items()}
        self._funding: list[FundingDue] = []
        self.asked: list[tuple[tuple[str, ...], int, int]] = []

    def quote(self, time_ms: int, /, spread: float = 0.0, **prices: float) -> None:
        self._quotes.append((time_ms, {c: (p, p - spread / 2, p + spread / 2) for c, p in prices.items()}))

    def close(self, coin: str, open_ms: int, price: float) -> None:
        self._bars.setdefault(coin, [])
        self._bars[coin].append((open_ms, price))

    def owe(self, coin: str, time_ms: int, rate: float) -> None:
        self._funding.append(FundingDue(coin, time_ms, rate))

    def since(self, coins: Sequence[str], after_ms: int, now_ms: int) -> Iterator[Prices]:
        self.asked.append((tuple(coins), after_ms, now_ms))
        before = after_ms
        for time, quotes in sorted(self._quotes, key=lambda item: item[0]):
            if not after_ms < time <= now_ms:
                continue
            bars = {
                coin: PriceBar(coin, time, *(quotes[coin][0],) * 4, bid=quotes[coin][1], ask=quotes[coin][2])
                for coin in coins
                if coin in quotes
            }
            due = tuple(d for d in self._funding if before < d.time_ms <= time and d.coin in coins)
            before = time
            if bars:
                yield Prices(time, time, bars, due)

    def bars(self, coin: str, interval: str, count: int, now_ms: int) -> Bars:
        step = interval_ms(interval)
        rows = [row for row in self._bars.get(coin, []) if row[0] + step <= now_ms][-count:]
        time = np.array([row[0] for row in rows], dtype=np.int64)
        price = np.array([row[1] for row in rows], dtype=np.float64)
        return Bars(time, price, price, price, price, np.ones_like(price))


class ScriptedTrader:
    """`say(view)` gives the decisions; `views` keeps what it was shown."""

    name = "scripted"
    warmup = 1

    def __init__(self, say: Callable[[MarketView], Iterable[Decision]] | None = None) -> None:
        self._say = say or (lambda view: [])
        self.views: list[MarketView] = []

    def decide(self, view: MarketView) -> list[Decision]:
        self.views.append(view)
        return list(self._say(view))


def always(action: Action, **values: float) -> ScriptedTrader:
    """The same decision for each fresh coin."""
    return ScriptedTrader(lambda view: [Decision(coin, action, **values) for coin in view.coins if coin in view.fresh])


def flat_bars(coins: Iterable[str], interval: str, until_ms: int, count: int = 3, price: float = 100.0) -> ScriptedFeed:
    """Candles of one price that are closed by `until_ms`."""
    step = interval_ms(interval)
    last = floor_ms(until_ms, step)
    return ScriptedFeed({coin: [(last - i * step, price) for i in range(count, 0, -1)] for coin in coins})
