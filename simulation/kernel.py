"""The face of the simulation: `simulate(SimInput) -> SimResult`, over one or many coins.

Importing this module imports numba (half a second) and the first call loads or compiles the loop:
import it late, and call `warm_up()` in the background where a server starts. Calls run without
the GIL and share nothing, so threads may run side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidValue
from domain.market import Bars, FloatArray, IntArray
from domain.times import MINUTE_MS
from simulation.loop import AT_CLOSE, AT_MID, NEXT_OPEN, TERM_COLUMNS, cached_run
from simulation.result import CoinInput, SimInput, SimResult, TradeTable, day_marks

_DIRECTIONS = {"long": 1, "short": -1, "both": 0}
_MODES = {"next_open": NEXT_OPEN, "close": AT_CLOSE, "mid": AT_MID}
_NO_INDEX = np.empty((1, 0), dtype=np.int32)
_NO_LEVELS = np.empty((3, 0))


@dataclass(frozen=True, slots=True)
class _Grid:
    """The union of the coins' bar times; `index` (n, rows) bar of each coin or -1, (n, 0) where all have all."""

    times: IntArray
    index: NDArray[np.int32]
    offsets: IntArray


@dataclass(frozen=True, slots=True)
class _Funding:
    """Funding of all coins in a row; `start` (n + 1) tells whose.

    `events` (2, f): bar, and 1 where it is due at that bar's open; `rate` (2, f) of longs, of shorts.
    """

    start: IntArray
    events: IntArray
    rate: FloatArray


def simulate(inputs: SimInput) -> SimResult:
    """Runs the simulation; the order of things inside a bar is the design's (see simulation.loop).

    Raises InvalidValue where shapes disagree or a number makes no sense.
    """
    _validate(inputs)
    coins = inputs.coins
    grid = _grid(coins)
    funding = _funding(coins, grid, inputs.step_ms)
    detail, detail_start = _detail(coins, grid, inputs.step_ms)
    tiers, tier_start = _tiers(coins)
    day_times, day_rows = day_marks(grid.times, inputs.step_ms)
    changes = np.flatnonzero(np.diff(day_rows, append=-1))
    terms = np.array([(coin.size_percent, coin.leverage, coin.mmr) for coin in coins]).reshape(-1, TERM_COLUMNS)
    costs = np.array(
        (
            inputs.fee_rate,
            inputs.slippage_rate,
            inputs.stop_loss_percent,
            inputs.take_profit_percent,
            inputs.trailing_stop_percent,
        )
    )
    bars = [coin.bars for coin in coins]
    equity, day_equity, trades, cash_log, totals = cached_run(
        len(grid.times),
        grid.index,
        grid.offsets,
        _joined([part.open for part in bars]),
        _joined([part.high for part in bars]),
        _joined([part.low for part in bars]),
        _joined([part.close for part in bars]),
        _read_only(np.concatenate([coin.signals for coin in coins]) if len(coins) > 1 else coins[0].signals, np.int8),
        _marks(coins),
        detail,
        detail_start,
        funding.start,
        funding.events,
        funding.rate,
        terms,
        tiers,
        tier_start,
        day_rows[changes],
        costs,
        float(inputs.initial_capital),
        _DIRECTIONS[inputs.direction],
        _MODES[inputs.fill_price],
        bool(inputs.lean),
    )
    return SimResult(
        coins=tuple(coin.coin for coin in coins),
        times=grid.times,
        step_ms=inputs.step_ms,
        initial_capital=float(inputs.initial_capital),
        final_value=float(totals[0]),
        final_cash=float(totals[1]),
        total_fees=float(totals[2]),
        total_funding=float(totals[3]),
        max_drawdown=float(totals[4]) * 100.0,
        held_rows=int(totals[5]),
        trades=_trade_table(trades, grid.times),
        day_times=day_times,
        day_equity=np.repeat(day_equity, np.diff(changes, prepend=-1)),
        equity=None if inputs.lean else equity,
        cash_rows=cash_log[:, 0].astype(np.int64),
        cash_values=cash_log[:, 1].copy(),
    )


def warm_up() -> None:
    """Loads the loop from numba's cache, or compiles it (some seconds, once per installation)."""
    times = np.arange(3, dtype=np.int64) * MINUTE_MS
    flat = np.ones(3)
    bars = Bars(times, flat, flat, flat, flat, flat)
    simulate(SimInput((CoinInput("WARM", bars, np.array([1, 0, 0], dtype=np.int8)),), MINUTE_MS))


def _validate(inputs: SimInput) -> None:
    if not inputs.coins or not any(len(coin.bars) for coin in inputs.coins):
        raise InvalidValue("there is no bar to run on", field="coins")
    for coin in inputs.coins:
        if len(coin.signals) != len(coin.bars):
            raise InvalidValue(f"{coin.coin}: {len(coin.signals)} signals for {len(coin.bars)} bars", field="signals")
        if not coin.leverage > 0 or not coin.size_percent >= 0 or not 0 <= coin.mmr < 1:
            raise InvalidValue(f"{coin.coin}: leverage, size or maintenance rate make no sense", field="leverage")
    if not inputs.initial_capital > 0:
        raise InvalidValue("initial_capital must be positive", field="initial_capital")
    if not (0 <= inputs.fee_rate < 1 and 0 <= inputs.slippage_rate < 1):
        raise InvalidValue("fee and slippage rates must lie in [0, 1)", field="fee_rate")
    if inputs.direction not in _DIRECTIONS or inputs.fill_price not in _MODES:
        raise InvalidValue("unknown direction or fill_price", field="direction")


def _read_only(values: NDArray, kind: type) -> NDArray:  # type: ignore[type-arg]
    """A contiguous read-only view: numba then compiles one variant, for mapped files and for own arrays."""
    view: NDArray = np.ascontiguousarray(np.asarray(values, dtype=kind)).view()  # type: ignore[type-arg]
    view.flags.writeable = False
    return view


def _joined(columns: list[FloatArray]) -> FloatArray:
    return _read_only(columns[0] if len(columns) == 1 else np.concatenate(columns), np.float64)


def _grid(coins: tuple[CoinInput, ...]) -> _Grid:
    offsets = np.zeros(len(coins) + 1, dtype=np.int64)
    np.cumsum([len(coin.bars) for coin in coins], out=offsets[1:])
    first = coins[0].bars.time
    if all(coin.bars.time is first or np.array_equal(coin.bars.time, first) for coin in coins[1:]):
        return _Grid(first, _NO_INDEX, offsets)
    times = np.unique(np.concatenate([coin.bars.time for coin in coins]))
    index = np.full((len(coins), len(times)), -1, dtype=np.int32)
    for row, coin in zip(index, coins, strict=True):
        row[np.searchsorted(times, coin.bars.time)] = np.arange(len(coin.bars), dtype=np.int32)
    return _Grid(times, index, offsets)


def _marks(coins: tuple[CoinInput, ...]) -> FloatArray:
    """(3, b) open, high and low of the mark candles, NaN where there is none; (3, 0) without any."""
    if all(coin.marks is None for coin in coins):
        return _NO_LEVELS
    parts = []
    for coin in coins:
        part = np.full((3, len(coin.bars)), np.nan)
        if coin.marks is not None and len(coin.marks):
            at = np.minimum(np.searchsorted(coin.marks.time, coin.bars.time), len(coin.marks) - 1)
            known = coin.marks.time[at] == coin.bars.time
            for row, column in zip(part, (coin.marks.open, coin.marks.high, coin.marks.low), strict=True):
                row[known] = column[at[known]]
        parts.append(part)
    return np.ascontiguousarray(np.hstack(parts))


def _funding(coins: tuple[CoinInput, ...], grid: _Grid, step_ms: int) -> _Funding:
    start = np.zeros(len(coins) + 1, dtype=np.int64)
    events, rates = [np.empty((2, 0), dtype=np.int64)], [np.empty((2, 0))]
    for i, coin in enumerate(coins):
        start[i + 1] = start[i]
        if coin.funding_times is None or coin.funding_rates is None or not len(coin.bars):
            continue
        # Venues stamp milliseconds late: a stamp belongs to its full minute.
        times = np.asarray(coin.funding_times) // MINUTE_MS * MINUTE_MS
        bar = np.searchsorted(coin.bars.time, times, side="right") - 1
        kept = (bar >= 0) & (times < coin.bars.time[-1] + step_ms)
        start[i + 1] += int(np.count_nonzero(kept))
        events.append(np.vstack([bar[kept] + grid.offsets[i], coin.bars.time[bar[kept]] == times[kept]]))
        shorts = coin.funding_rates if coin.short_funding_rates is None else coin.short_funding_rates
        rates.append(np.vstack([np.asarray(part, dtype=np.float64)[kept] for part in (coin.funding_rates, shorts)]))
    return _Funding(start, np.hstack(events), np.hstack(rates))


def _detail(coins: tuple[CoinInput, ...], grid: _Grid, step_ms: int) -> tuple[FloatArray, IntArray]:
    """(3, m) open, high and low of the finer candles that lie inside a bar, and where each bar's begin (b + 1)."""
    if all(coin.detail is None for coin in coins):
        return _NO_LEVELS, np.zeros(1, dtype=np.int64)
    owners, columns = [np.empty(0, dtype=np.int64)], [_NO_LEVELS]
    for i, coin in enumerate(coins):
        if coin.detail is None or not len(coin.bars):
            continue
        bar = np.searchsorted(coin.bars.time, coin.detail.time, side="right") - 1
        kept = (bar >= 0) & (coin.detail.time < coin.bars.time[np.maximum(bar, 0)] + step_ms)
        owners.append(bar[kept] + grid.offsets[i])
        columns.append(np.vstack([coin.detail.open[kept], coin.detail.high[kept], coin.detail.low[kept]]))
    total = int(grid.offsets[-1])
    return np.hstack(columns), np.searchsorted(np.concatenate(owners), np.arange(total + 1, dtype=np.int64))


def _tiers(coins: tuple[CoinInput, ...]) -> tuple[FloatArray, IntArray]:
    """(3, t) caps, rates and deductions of all coins, and where each coin's begin (n + 1)."""
    start = np.zeros(len(coins) + 1, dtype=np.int64)
    np.cumsum([len(coin.tiers) for coin in coins], out=start[1:])
    rows = [(tier.notional_cap, tier.rate, tier.deduction) for coin in coins for tier in coin.tiers]
    return np.ascontiguousarray(np.array(rows, dtype=np.float64).reshape(-1, 3).T), start


def _trade_table(trades: FloatArray, times: IntArray) -> TradeTable:
    whole = trades[:, [0, 1, 2, 4, 12]].astype(np.int64)
    money = np.ascontiguousarray(trades.T)
    return TradeTable(
        coin=whole[:, 0],
        side=whole[:, 1],
        entry_time=times[whole[:, 2]],
        entry_price=money[3],
        exit_time=times[whole[:, 3]],
        exit_price=money[5],
        quantity=money[6],
        leverage=money[7],
        fee=money[8],
        funding=money[9],
        pnl=money[10],
        pnl_percent=money[11],
        reason=whole[:, 4],
    )
