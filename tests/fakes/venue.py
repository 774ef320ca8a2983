"""A venue that says what it is told to, and can be down."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from domain.errors import CurlewError
from domain.market import Bars, FundingRate, Instrument, OrderBook, Quote
from domain.ports import Clock


class FakeVenue:
    """Lists `coins` as perpetuals. `calls` counts what was asked; `down` is raised by every question."""

    def __init__(self, name: str, clock: Clock, coins: Sequence[str] = ("BTC", "ETH")) -> None:
        self._name = name
        self._clock = clock
        self.coins = list(coins)
        self.calls: Counter[str] = Counter()
        self.down: CurlewError | None = None
        self.price = 100.0
        self.lag_ms = 0
        self.bars = Bars.empty()
        self.rates: list[FundingRate] = []
        self.gate: threading.Event | None = None

    @property
    def name(self) -> str:
        return self._name

    def _answer(self, question: str) -> None:
        self.calls[question] += 1
        if self.gate is not None:
            self.gate.wait(10)
        if self.down is not None:
            raise self.down

    def instruments(self) -> list[Instrument]:
        self._answer("instruments")
        return [Instrument(coin, self._name, "perp", f"{coin}USDT", tick=0.1) for coin in self.coins]

    def quotes(self, instruments: Sequence[Instrument]) -> list[Quote]:
        self._answer("quotes")
        now = self._clock.now_ms()
        return [
            Quote(i.coin, i.symbol, self._name, self.price, self.price - 1, self.price + 1, now - self.lag_ms, now)
            for i in instruments
        ]

    def candles(self, instrument: Instrument, interval: str, start: datetime, end: datetime) -> Bars:
        self._answer("candles")
        return self.bars.between(int(start.timestamp() * 1000), int(end.timestamp() * 1000))

    def order_book(self, instrument: Instrument, depth: int) -> OrderBook:
        self._answer("order_book")
        return OrderBook(instrument.coin, instrument.symbol, self._name, self._clock.now_ms(), (), ())

    def funding(self, instrument: Instrument, start: datetime, end: datetime) -> list[FundingRate]:
        self._answer("funding")
        first, last = int(start.timestamp() * 1000), int(end.timestamp() * 1000)
        return [rate for rate in self.rates if first <= rate.time_ms < last]
