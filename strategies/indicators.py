"""Indicators as functions from arrays to arrays, each with its declared warm-up.

Arrays in and out are float64 of one length n, oldest first; values before the warm-up are NaN, and a
series shorter than the warm-up is NaN throughout. Leading NaNs of the input move the start. Values
and warm-up are TA-Lib's where it has the indicator (checked against it and against the tables in
../shared/data/reference), KDJ and BBI are MyTT's.

`REGISTRY` describes them to the compiler: which columns of the bars they read, how many bars they
need (`warmup`: the first value belongs to bar number `warmup`), and how many more until what came
before the first bar no longer matters (`memory`, to one part in 1e9; 0 where a window is all there is).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from domain.market import Bars, FloatArray
from strategies.codes import OP_BOLL, OP_EMA, OP_MACD, OP_RSI, OP_SMA

Params = tuple[Any, ...]
Lines = tuple[FloatArray, ...]

# A divergence needs turning points: extreme over this many bars to both sides, at most so far apart.
PIVOT_SIDE = 5
PIVOT_SPAN = 60
_FORGOTTEN = math.log(1e-9)


@dataclass(frozen=True, slots=True)
class Indicator:
    """`function(*columns, *params)` gives one array or a tuple of them."""

    name: str
    columns: tuple[str, ...]
    function: Callable[..., FloatArray | Lines]
    warmup: Callable[..., int]
    memory: Callable[..., int]

    def lines(self, bars: Bars, params: Params) -> Lines:
        result = self.function(*(getattr(bars, column) for column in self.columns), *params)
        return result if isinstance(result, tuple) else (result,)


REGISTRY: dict[str, Indicator] = {}


def _no_memory(*_params: Any) -> int:
    return 0


F = TypeVar("F", bound=Callable[..., FloatArray | Lines])


def indicator(*columns: str, warmup: Callable[..., int], memory: Callable[..., int] = _no_memory) -> Callable[[F], F]:
    """Registers a function under its own name; `warmup` and `memory` take its parameters."""

    def register(function: F) -> F:
        name = function.__name__
        REGISTRY[name] = Indicator(name, columns, function, warmup, memory)
        return function

    return register


def ema_memory(period: int) -> int:
    """Bars after which an exponential average weighs its seed with less than 1e-9."""
    return _decay(1.0 - 2.0 / (period + 1))


def wilder_memory(period: int, *_others: Any) -> int:
    """The same for Wilder's smoothing."""
    return _decay(1.0 - 1.0 / period)


def _decay(kept: float) -> int:
    return math.ceil(_FORGOTTEN / math.log(kept)) if kept > 0 else 0


def macd_memory(_fast: int, slow: int, signal: int) -> int:
    return ema_memory(slow) + ema_memory(signal)


def _period(period: int, *_others: Any) -> int:
    return period


# -- lines of the compiled kernels --------------------------------------------------------


@indicator("close", warmup=_period)
def sma(close: FloatArray, period: int) -> FloatArray:
    """Simple moving average: the mean of the last `period` closes."""
    return _run(OP_SMA, close, (period, period))[0]


@indicator("close", warmup=_period, memory=ema_memory)
def ema(close: FloatArray, period: int) -> FloatArray:
    """Exponential moving average, k = 2 / (period + 1), from the mean of the first window."""
    return _run(OP_EMA, close, (period, period))[0]


@indicator("close", warmup=lambda _fast, slow, signal: slow + signal - 1, memory=macd_memory)
def macd(close: FloatArray, fast: int, slow: int, signal: int) -> Lines:
    """MACD line, signal line and histogram; all three start where the signal line does."""
    line, smooth, _ = _run(OP_MACD, close, (fast, slow, signal))
    return line, smooth, line - smooth


@indicator("close", warmup=lambda period: period + 1, memory=wilder_memory)
def rsi(close: FloatArray, period: int) -> FloatArray:
    """Wilder's relative strength index, 0 to 100; 0 where nothing has moved, as TA-Lib has it."""
    return _run(OP_RSI, close, (period,))[0]


@indicator("close", warmup=_period)
def boll(close: FloatArray, period: int, stddev: float) -> Lines:
    """Upper, middle and lower Bollinger band; the deviation is the population's."""
    return _run(OP_BOLL, close, (period,), stddev)


def _run(op: int, close: FloatArray, ints: tuple[int, ...], real: float = 0.0) -> Lines:
    """The three lines of one operation, computed by the very loop that runs rule sets."""
    from strategies import kernels

    close = series(close)
    record = np.full((3, len(close)), np.nan)
    ops = np.array([[op, *[*ints, 0, 0][:3], 0, 1, 2]], dtype=np.int64)
    table, flat = np.empty((0, 3), dtype=np.int64), np.empty(0, dtype=np.int64)
    kernels.run(
        close, np.empty((0, 0)), begin_of(close), ops, np.array([float(real)]), np.empty((0, 2)),
        table, table, flat, np.array([-1, -1], dtype=np.int64), np.empty((3, 2)), record,
    )  # fmt: skip
    return tuple(record)


# -- averages and ranges ------------------------------------------------------------------


@indicator("close", warmup=lambda periods: max(periods))
def bbi(close: FloatArray, periods: tuple[int, ...]) -> FloatArray:
    """Bull and bear index: the mean of the simple averages of these periods (MyTT's BBI)."""
    total = sum((sma(close, period) for period in periods), np.zeros(len(close)))
    return total / len(periods)


@indicator("high", "low", "close", warmup=_period, memory=lambda n, k, d: wilder_memory(k) + wilder_memory(d))
def kdj(high: FloatArray, low: FloatArray, close: FloatArray, n: int, k: int, d: int) -> Lines:
    """K, D and J = 3 K - 2 D (MyTT's KDJ): the place of the close in the range of `n` bars, smoothed."""
    from strategies import kernels

    out = np.full((3, len(close)), np.nan)
    columns = [series(column) for column in (high, low, close)]
    kernels.kdj(*columns, begin_of(*columns), n, k, d, out)
    return tuple(out)


@indicator("high", "low", "close", warmup=_period)
def cci(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Commodity channel index of the typical price."""
    import talib

    return _talib(talib.CCI, (high, low, close), period)


@indicator("high", "low", "close", warmup=lambda period: period + 1, memory=wilder_memory)
def atr(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Average true range with Wilder's smoothing."""
    import talib

    return _talib(talib.ATR, (high, low, close), period)


@indicator("high", "low", "close", warmup=lambda period, _factor: period + 2, memory=wilder_memory)
def atr_bands(high: FloatArray, low: FloatArray, close: FloatArray, period: int, factor: float) -> Lines:
    """The previous close plus and minus `factor` x the previous bar's ATR."""
    reach = factor * atr(high, low, close, period)
    return _shifted(close + reach), _shifted(close - reach)


@indicator("volume", warmup=lambda: 1)
def volume(volume: FloatArray) -> FloatArray:
    return series(volume)


@indicator("volume", warmup=lambda period, _factor: period + 1)
def volume_threshold(volume: FloatArray, period: int, factor: float) -> FloatArray:
    """`factor` x the mean volume of the `period` bars before each."""
    return _shifted(factor * sma(volume, period))


def pattern_warmup(name: str) -> int:
    """Bars of a candlestick pattern, the candles that it compares with included."""
    from talib import abstract

    return int(getattr(abstract, name).lookback) + 1


@indicator("open", "high", "low", "close", warmup=pattern_warmup)
def pattern(open: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, name: str) -> FloatArray:
    """TA-Lib's answer to one of its CDL names: positive bullish, negative bearish, 0 nothing."""
    import talib

    return _talib(getattr(talib, name), (open, high, low, close)).astype(np.float64)


# -- divergences --------------------------------------------------------------------------


def divergence(high: FloatArray, low: FloatArray, values: FloatArray) -> FloatArray:
    """+1 a bullish, -1 a bearish divergence of `values` from the price, 0 none; NaN before `values` start.

    Bullish: of two neighbouring pivot lows the second is lower in price and higher in `values`. A pivot
    is the extreme of PIVOT_SIDE bars to both sides, so the signal comes that many bars after it.
    """
    from strategies import kernels

    columns = [series(column) for column in (high, low, values)]
    out = np.empty(len(values))
    kernels.divergence(*columns, PIVOT_SIDE, PIVOT_SPAN, begin_of(columns[2]), out)
    return out


def _pivots(bars: int) -> int:
    return bars + 2 * PIVOT_SIDE + 1


@indicator(
    "high", "low", "close",
    warmup=lambda period: _pivots(period + 1), memory=lambda period: wilder_memory(period) + PIVOT_SPAN,
)  # fmt: skip
def rsi_divergence(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    return divergence(high, low, rsi(close, period))


@indicator(
    "high", "low", "close",
    warmup=lambda _fast, slow, signal: _pivots(slow + signal - 1),
    memory=lambda fast, slow, signal: macd_memory(fast, slow, signal) + PIVOT_SPAN,
)  # fmt: skip
def macd_divergence(
    high: FloatArray, low: FloatArray, close: FloatArray, fast: int, slow: int, signal: int
) -> FloatArray:
    return divergence(high, low, macd(close, fast, slow, signal)[0])


@indicator("high", "low", "close", warmup=_pivots, memory=lambda _period: PIVOT_SPAN)
def cci_divergence(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    return divergence(high, low, cci(high, low, close, period))


# -- shared -------------------------------------------------------------------------------


def series(values: FloatArray) -> FloatArray:
    """Contiguous float64, copied only where it is not."""
    return np.ascontiguousarray(values, dtype=np.float64)


def begin_of(*columns: FloatArray) -> int:
    """Index of the first bar where every column is a number; n where there is none."""
    first = 0
    for column in columns:
        if len(column) and math.isnan(column[0]):
            known = np.flatnonzero(~np.isnan(column))
            first = max(first, int(known[0]) if len(known) else len(column))
    return first


def _shifted(values: FloatArray) -> FloatArray:
    out = np.empty_like(values)
    out[:1] = np.nan
    out[1:] = values[:-1]
    return out


def _talib(function: Callable[..., Any], columns: tuple[FloatArray, ...], *params: Any) -> FloatArray:
    columns = tuple(series(column) for column in columns)
    if begin_of(*columns) >= len(columns[0]):
        return np.full(len(columns[0]), np.nan)
    result: FloatArray = function(*columns, *params)
    return result
