"""Values of the market: series, bars, instruments, quotes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidValue
from domain.times import interval_ms

Market = Literal["spot", "perp", "perp-mark"]
MARKETS: tuple[str, ...] = ("spot", "perp", "perp-mark")
# The venues' own names for our three markets.
MARKET_ALIASES = {"um": "perp", "swap": "perp", "um-mark": "perp-mark", "swap-mark": "perp-mark"}

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def parse_market(name: str) -> str:
    """`spot`, `perp` or `perp-mark` from ours or a venue's name."""
    market = MARKET_ALIASES.get(name.lower(), name.lower())
    if market not in MARKETS:
        raise InvalidValue(f"unknown market '{name}'; use spot, perp or perp-mark", field="market")
    return market


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """Names one candle series. One series never mixes venues."""

    venue: str
    market: str
    symbol: str
    interval: str

    @property
    def step_ms(self) -> int:
        return interval_ms(self.interval)

    def __str__(self) -> str:
        return f"{self.venue}/{self.market}/{self.symbol}/{self.interval}"


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar, named by its open time (ms UTC)."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """A span of one series as columns: `time` int64 ms of bar opens, ascending, the rest float64.

    All arrays have the same length n. They may be read-only views of mapped files: copy
    before writing.
    """

    time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, part: slice) -> Bars:
        return Bars(
            self.time[part], self.open[part], self.high[part], self.low[part], self.close[part], self.volume[part]
        )

    def columns(self) -> tuple[IntArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        return self.time, self.open, self.high, self.low, self.close, self.volume

    def between(self, start_ms: int | None, end_ms: int | None) -> Bars:
        """Bars whose open lies in [start_ms, end_ms): no copy; None leaves that side open."""
        first = 0 if start_ms is None else int(np.searchsorted(self.time, start_ms, side="left"))
        last = len(self) if end_ms is None else int(np.searchsorted(self.time, end_ms, side="left"))
        return self[first : max(first, last)]

    def candle(self, index: int) -> Candle:
        return Candle(int(self.time[index]), *(float(column[index]) for column in self.columns()[1:]))

    def candles(self) -> Iterator[Candle]:
        return (self.candle(i) for i in range(len(self)))

    def sha256(self) -> str:
        """Hash of the values, the same on every machine (little-endian, columns in order)."""
        digest = hashlib.sha256()
        for column, kind in zip(self.columns(), ("<i8", *["<f8"] * 5), strict=True):
            digest.update(np.ascontiguousarray(column, dtype=kind).tobytes())
        return digest.hexdigest()

    @staticmethod
    def empty() -> Bars:
        none = np.empty(0, dtype=np.float64)
        return Bars(np.empty(0, dtype=np.int64), none, none, none, none, none)

    @staticmethod
    def concat(parts: list[Bars]) -> Bars:
        """Joined in the order given; the caller vouches for ascending times."""
        kept = [part for part in parts if len(part)]
        if not kept:
            return Bars.empty()
        if len(kept) == 1:
            return kept[0]
        return Bars(*(np.concatenate(columns) for columns in zip(*(p.columns() for p in kept), strict=True)))


@dataclass(frozen=True, slots=True)
class MaintenanceTier:
    """Maintenance margin of notionals up to `notional_cap`: notional x rate - deduction."""

    notional_cap: float
    rate: float
    deduction: float = 0.0
    max_leverage: float | None = None


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a venue lists: one coin in one market.

    `multiplier`: coins in one unit of the symbol (1000SHIBUSDT and kPEPE: 1000).
    `contract_size`: units of the symbol in one contract (OKX swaps), else 1.
    `tick`, `lot` and `min_notional` are None where the venue does not say.
    """

    coin: str
    venue: str
    market: str
    symbol: str
    tick: float | None = None
    lot: float | None = None
    min_notional: float | None = None
    contract_size: float = 1.0
    multiplier: float = 1.0
    max_leverage: float | None = None
    tiers: tuple[MaintenanceTier, ...] = ()

    def series(self, interval: str) -> SeriesKey:
        return SeriesKey(self.venue, self.market, self.symbol, interval)


@dataclass(frozen=True, slots=True)
class Quote:
    """The best prices of one instrument in dollars for one coin, with both of its times."""

    coin: str
    symbol: str
    source: str
    price: float
    bid: float
    ask: float
    venue_time_ms: int
    received_ms: int
    change_24h: float | None = None
    change_percent_24h: float | None = None
    high_24h: float | None = None
    low_24h: float | None = None
    volume_24h: float | None = None


@dataclass(frozen=True, slots=True)
class OrderBook:
    """Levels are (price, size in coins), best first."""

    coin: str
    symbol: str
    source: str
    time_ms: int
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class FundingRate:
    """`rate` per period as a fraction; positive: longs pay shorts. `time_ms` is the full minute it is due."""

    time_ms: int
    rate: float


@dataclass(frozen=True, slots=True)
class Sourced:
    """Where candles or a value came from: venue, market, and how old it is."""

    source: str
    market: str
    symbol: str
    age_ms: int
    stale: bool = False
    note: str = field(default="")
