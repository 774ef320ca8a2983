"""What goes into a simulation and what comes out of it. Importing this module needs no numba."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brokers.accounting import DEFAULT_MAINTENANCE_RATE, EXIT_OPEN, REASONS
from domain.market import Bars, FloatArray, IntArray, MaintenanceTier
from domain.times import DAY_MS
from domain.trading import ClosedTrade, Reason, Side

Direction = Literal["long", "short", "both"]
FillPrice = Literal["next_open", "close", "mid"]


@dataclass(frozen=True, slots=True, eq=False)
class CoinInput:
    """One coin of the pool; `bars`, `signals` and what else has one value a bar are of length n.

    `bars`: the traded span (no warm-up rows). `signals` int8 of length n: +1 buy, -1 sell, 0
    nothing, as decided at the close of each bar. `size_percent`: margin of an opening, percent of
    equity. `mmr`: maintenance margin rate where there are no `tiers`.
    `marks`: mark candles of the same interval, any span; bars without one use traded prices.
    `funding_times` (ms, ascending) and `funding_rates`: any span, clipped to the bars;
    `short_funding_rates` where shorts are settled at other rates than longs.
    `detail`: finer candles of the same coin, any span; they tell which of stop and target came first.
    """

    coin: str
    bars: Bars
    signals: NDArray[np.int8]
    size_percent: float = 100.0
    leverage: float = 1.0
    mmr: float = DEFAULT_MAINTENANCE_RATE
    tiers: tuple[MaintenanceTier, ...] = ()
    marks: Bars | None = None
    funding_times: IntArray | None = None
    funding_rates: FloatArray | None = None
    short_funding_rates: FloatArray | None = None
    detail: Bars | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SimInput:
    """A run of one or many coins over shared cash. `coins` in the order of the pool.

    The rows of the run are the union of the coins' bar times; a coin without a bar in a row keeps
    its order waiting and is valued at its last close. `step_ms`: length of a bar.
    Rates are fractions, percentages are of the entry price as filled, 0 is none.
    `lean` leaves the equity curve out (totals, trades, daily marks and drawdown stay).
    """

    coins: tuple[CoinInput, ...]
    step_ms: int
    initial_capital: float = 10_000.0
    fee_rate: float = 0.001
    slippage_rate: float = 0.0
    direction: Direction = "long"
    fill_price: FillPrice = "next_open"
    stop_loss_percent: float = 0.0
    take_profit_percent: float = 0.0
    trailing_stop_percent: float = 0.0
    lean: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class TradeTable:
    """Trades as columns of length k, in the order of their exits; open ones last.

    `coin` indexes the pool, `side` is +1 or -1, times are ms of the bar opens, `fee` is both fees,
    `funding` is signed as received, `pnl_percent` is of the margin paid in, `reason` indexes
    `brokers.accounting.REASONS`.
    """

    coin: NDArray[np.int64]
    side: NDArray[np.int64]
    entry_time: IntArray
    entry_price: FloatArray
    exit_time: IntArray
    exit_price: FloatArray
    quantity: FloatArray
    leverage: FloatArray
    fee: FloatArray
    funding: FloatArray
    pnl: FloatArray
    pnl_percent: FloatArray
    reason: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.coin)

    @property
    def is_closed(self) -> NDArray[np.bool_]:
        """False for the positions that are still open at the end."""
        closed: NDArray[np.bool_] = self.reason != EXIT_OPEN
        return closed

    def rows(self, coins: tuple[str, ...]) -> list[ClosedTrade]:
        """The table as domain values."""
        sides = {1: Side.LONG, -1: Side.SHORT}
        reasons = [Reason(name) if name else Reason.OPEN for name in REASONS]
        columns = (getattr(self, name).tolist() for name in self.__slots__)
        return [
            ClosedTrade(coins[row[0]], sides[row[1]], *row[2:-1], reasons[row[-1]])  # type: ignore[call-arg]
            for row in zip(*columns, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class SimResult:
    """What a run gave. Arrays along `times` have one value a row of the union grid.

    `times` int64 ms of bar opens. `equity` at the closes, None for a lean run. `max_drawdown` in percent, positive,
    at the closes. `day_times`: the end (ms, exclusive) of each UTC day from the first to the last, `day_equity`
    the equity at the last close by then. `held_rows`: rows with a position open at the close.
    `cash_rows`, `cash_values`: the rows in which cash changed, and to what (as of the close).
    """

    coins: tuple[str, ...]
    times: IntArray
    step_ms: int
    initial_capital: float
    final_value: float
    final_cash: float
    total_fees: float
    total_funding: float
    max_drawdown: float
    held_rows: int
    trades: TradeTable
    day_times: IntArray
    day_equity: FloatArray
    equity: FloatArray | None
    cash_rows: IntArray = field(repr=False)
    cash_values: FloatArray = field(repr=False)

    @cached_property
    def cash(self) -> FloatArray:
        """Cash at the closes, one value a row."""
        spans = np.diff(np.append(self.cash_rows, len(self.times)))
        return np.repeat(self.cash_values, spans)

    @cached_property
    def positions_value(self) -> FloatArray:
        """Sum of margin + unrealised profit at the closes; empty for a lean run."""
        return np.empty(0) if self.equity is None else self.equity - self.cash

    def trade_rows(self) -> list[ClosedTrade]:
        return self.trades.rows(self.coins)


def day_marks(times: IntArray, step_ms: int) -> tuple[IntArray, IntArray]:
    """(ends, rows) of each UTC day that the bars touch: its end (ms, exclusive) and the last row closed by then.

    A bar closes at its open time + step_ms. Days without a bar repeat the row before; the last day
    may be cut short.
    """
    first = (int(times[0]) + step_ms - 1) // DAY_MS
    last = (int(times[-1]) + step_ms - 1) // DAY_MS
    ends = (np.arange(first, last + 1, dtype=np.int64) + 1) * DAY_MS
    return ends, np.searchsorted(times, ends - step_ms, side="right") - 1
