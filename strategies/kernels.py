"""Compiled loops of the indicators and of whole rule sets. Imports numba: import it late.

A rule set runs in blocks of bars that stay in the processor's cache: each indicator writes one block
of values, the comparisons turn it into bytes, and only the signal itself, a byte for each bar, goes
to memory. An indicator keeps what it needs from one block to the next in a small `state` row, so a
value depends on the bars up to its own and on nothing else, to the last bit.

Formulas and warm-up are TA-Lib's (SMA, EMA with the mean of the first window as seed, MACD, Wilder's
RSI, Bollinger bands with the population deviation). `begin` is the first bar whose input is a number;
everything before is NaN, and so is everything before the warm-up.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# numba reads the types off the arguments; the entries used from outside declare theirs.

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import float64, int8, int64, types, void

from strategies.codes import (
    ABOVE,
    AT_LEAST,
    AT_MOST,
    BELOW,
    CROSS_UP,
    OP_CLOSE,
    OP_EMA,
    OP_EXTERNAL,
    OP_MACD,
    OP_RSI,
    OP_SMA,
)

BLOCK = 2048
# Rolling squares about a fixed centre lose digits as the price walks away from it: renewed this often.
RECENTRE = 256

STATE = 8

# Candles may be mapped files, which nobody may write: declared read-only, a kernel takes both kinds of
# array and is compiled once.
_SERIES = types.Array(float64, 1, "C", readonly=True)
_GRID = types.Array(float64, 2, "C")
_TABLE = types.Array(int64, 2, "C")

# Called from kernels only: no wrappers for Python, which would double the time to compile.
# Division by zero gives inf or NaN, as in numpy: the check for it would keep loops from being vectorised.
_jit: Any = numba.njit
_inner = _jit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
_entry: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": True}


@_inner
def sma_pair(x, lo, hi, begin, first, second, state, out1, out2):
    """Two simple averages at once: their chains of additions run beside each other."""
    total1, total2 = state[0], state[1]
    ready = begin + max(first, second) - 1
    for i in range(lo, min(hi, ready)):
        j = i - lo
        out1[j] = np.nan
        out2[j] = np.nan
        if i < begin:
            continue
        total1 += x[i]
        total2 += x[i]
        if i >= begin + first - 1:
            out1[j] = total1
            total1 -= x[i - first + 1]
        if i >= begin + second - 1:
            out2[j] = total2
            total2 -= x[i - second + 1]
    for i in range(max(lo, ready), hi):
        total1 += x[i]
        total2 += x[i]
        out1[i - lo] = total1
        out2[i - lo] = total2
        total1 -= x[i - first + 1]
        total2 -= x[i - second + 1]
    state[0], state[1] = total1, total2
    # Divided apart from the sums: this loop is vectorised, that one cannot be.
    for j in range(hi - lo):
        out1[j] /= first
        out2[j] /= second


@_inner
def ema_pair(x, lo, hi, begin, first, second, state, out1, out2):
    """Two exponential averages at once, each from the mean of its first window."""
    value1, value2 = state[0], state[1]
    k1, k2 = 2.0 / (first + 1), 2.0 / (second + 1)
    ready = begin + max(first, second)
    for i in range(lo, min(hi, ready)):
        j = i - lo
        out1[j] = np.nan
        out2[j] = np.nan
        age = i - begin
        if age < 0:
            continue
        value1 = (x[i] - value1) * k1 + value1 if age >= first else value1 + x[i]
        value2 = (x[i] - value2) * k2 + value2 if age >= second else value2 + x[i]
        if age == first - 1:
            value1 /= first
        if age == second - 1:
            value2 /= second
        if age >= first - 1:
            out1[j] = value1
        if age >= second - 1:
            out2[j] = value2
    for i in range(max(lo, ready), hi):
        value1 = (x[i] - value1) * k1 + value1
        value2 = (x[i] - value2) * k2 + value2
        out1[i - lo] = value1
        out2[i - lo] = value2
    state[0], state[1] = value1, value2


@_inner
def macd(x, lo, hi, begin, fast, slow, signal, state, line, smooth):
    """MACD line and signal line; both start where the signal line is defined.

    The fast average is seeded with the window that ends where the slow one is seeded.
    """
    quick, steady, mean = state[0], state[1], state[2]
    kq, ks, km = 2.0 / (fast + 1), 2.0 / (slow + 1), 2.0 / (signal + 1)
    ready = begin + slow + signal - 1
    for i in range(lo, min(hi, ready)):
        j = i - lo
        line[j] = np.nan
        smooth[j] = np.nan
        age = i - begin
        if age < 0:
            continue
        if age < slow:
            steady += x[i]
            if age >= slow - fast:
                quick += x[i]
            if age < slow - 1:
                continue
            steady /= slow
            quick /= fast
        else:
            steady = (x[i] - steady) * ks + steady
            quick = (x[i] - quick) * kq + quick
        mean += quick - steady
        if age == slow + signal - 2:
            mean /= signal
            line[j] = quick - steady
            smooth[j] = mean
    for i in range(max(lo, ready), hi):
        steady = (x[i] - steady) * ks + steady
        quick = (x[i] - quick) * kq + quick
        difference = quick - steady
        mean = (difference - mean) * km + mean
        line[i - lo] = difference
        smooth[i - lo] = mean
    state[0], state[1], state[2] = quick, steady, mean


@_inner
def rsi(x, lo, hi, begin, period, state, out):
    """Wilder's relative strength; a window without any move is 0, as TA-Lib has it."""
    gain, loss = state[0], state[1]
    ready = begin + period + 1
    share, weight = 1.0 / period, period - 1.0
    for i in range(lo, min(hi, ready)):
        j = i - lo
        out[j] = np.nan
        if i <= begin:
            continue
        move = x[i] - x[i - 1]
        if move < 0:
            loss -= move
        else:
            gain += move
        if i == begin + period:
            gain /= period
            loss /= period
            total = gain + loss
            out[j] = 100.0 * (gain / total) if total != 0.0 else 0.0
    for i in range(max(lo, ready), hi):
        move = x[i] - x[i - 1]
        gain = (gain * weight + (0.0 if move < 0.0 else move)) * share
        loss = (loss * weight - (move if move < 0.0 else 0.0)) * share
        total = gain + loss
        out[i - lo] = 100.0 * (gain / total) if total != 0.0 else 0.0
    state[0], state[1] = gain, loss


@_inner
def boll(x, lo, hi, begin, period, width, state, upper, middle, lower):
    """Bollinger bands. `lo` is a multiple of BLOCK: the centres do not depend on the cutting.

    The variance comes from sums about a centre near the prices: about zero it would lose the digits
    that count. The slow divisions and the root are left to the last, vectorised loop; until then
    `middle`, `lower` and `upper` hold the sums.
    """
    total, still = state[0], int(state[1])
    first = begin + period - 1
    step = RECENTRE if period <= RECENTRE else BLOCK
    for a in range(lo, hi, step):
        b = min(a + step, hi)
        for i in range(a, min(b, first)):
            j = i - lo
            middle[j] = lower[j] = upper[j] = np.nan
            if i >= begin:
                total += x[i]
                still = still + 1 if i > begin and x[i] == x[i - 1] else 1
        start = max(a, first)
        if start >= b:
            continue
        centre = x[start]
        sum1 = 0.0
        sum2 = 0.0
        for i in range(start - period + 1, start):
            d = x[i] - centre
            sum1 += d
            sum2 += d * d
        old = 0.0
        for i in range(start, b):
            j = i - lo
            d = x[i] - centre
            sum1 += d - old
            sum2 += d * d - old * old
            total += x[i]
            still = still + 1 if x[i] == x[i - 1] else 1
            # A flat window has no deviation at all; what is left in the sums would only be rounding.
            moved = still < period
            middle[j] = total
            lower[j] = sum1 if moved else 0.0
            upper[j] = sum2 if moved else 0.0
            total -= x[i - period + 1]
            old = x[i - period + 1] - centre
    state[0], state[1] = total, still
    share = 1.0 / period
    for j in range(hi - lo):
        mean = middle[j] / period
        offset = lower[j] * share
        variance = upper[j] * share - offset * offset
        band = width * np.sqrt(0.0 if variance < 0.0 else variance)
        middle[j] = mean
        upper[j] = mean + band
        lower[j] = mean - band


@_inner
def _fill(op, ints, real, slots, state, close, external, begin, lo, hi, values):
    """One operation over one block; column 0 of `values` holds the bar before the block."""
    m = hi - lo
    out = values[slots[0], 1 : m + 1]
    if op == OP_CLOSE:
        out[:] = close[lo:hi]
    elif op == OP_EXTERNAL:
        out[:] = external[ints[0], lo:hi]
    elif op == OP_SMA:
        sma_pair(close, lo, hi, begin, ints[0], ints[1], state, out, values[slots[1], 1 : m + 1])
    elif op == OP_EMA:
        ema_pair(close, lo, hi, begin, ints[0], ints[1], state, out, values[slots[1], 1 : m + 1])
    elif op == OP_MACD:
        macd(close, lo, hi, begin, ints[0], ints[1], ints[2], state, out, values[slots[1], 1 : m + 1])
    elif op == OP_RSI:
        rsi(close, lo, hi, begin, ints[0], state, out)
    else:
        middle, lower = values[slots[1], 1 : m + 1], values[slots[2], 1 : m + 1]
        boll(close, lo, hi, begin, ints[0], real, state, out, middle, lower)


@_inner
def _compare(kind, a, b, m, out):
    """One comparison over one block; anything with a NaN is false, on both bars of a cross."""
    if kind == ABOVE:
        for j in range(m):
            out[j] = a[j + 1] > b[j + 1]
    elif kind == BELOW:
        for j in range(m):
            out[j] = a[j + 1] < b[j + 1]
    elif kind == AT_LEAST:
        for j in range(m):
            out[j] = a[j + 1] >= b[j + 1]
    elif kind == AT_MOST:
        for j in range(m):
            out[j] = a[j + 1] <= b[j + 1]
    elif kind == CROSS_UP:
        for j in range(m):
            out[j] = (a[j + 1] > b[j + 1]) & (a[j] <= b[j])
    else:
        for j in range(m):
            out[j] = (a[j + 1] < b[j + 1]) & (a[j] >= b[j])


@_inner
def _join(facts, tests, all_of, m, out):
    """AND (`all_of`) or OR of rows of bytes."""
    out[:m] = facts[tests[0], :m]
    for t in tests[1:]:
        row = facts[t]
        if all_of:
            for j in range(m):
                out[j] &= row[j]
        else:
            for j in range(m):
                out[j] |= row[j]


@_jit(
    int8[::1](_SERIES, _GRID, int64, _TABLE, float64[::1], _GRID, _TABLE, _TABLE, int64[::1], int64[::1], _GRID, _GRID),
    **_entry,
)
def run(close, external, begin, ops, reals, constants, comparisons, joins, members, sides, tail, record):
    """Signals of a compiled rule set: int8, +1 buy, -1 sell, 0 none or both.

    `ops` rows: op, three ints, three value rows; `reals` a float for each. `constants` rows: value row,
    its value. `comparisons` rows: kind, left row, right row; they fill the first rows of bytes. `joins`
    rows: 1 for all of, 0 for any of, and their span in `members` (rows of bytes); they fill the rows
    after those. `sides`: the rows of bytes that hold buy and sell, or -1. `tail` receives each value row
    at the last two bars, `record` the whole of as many of the first rows as it has. Row numbers are the
    compiler's own: nothing is checked here.
    """
    n = len(close)
    signals = np.zeros(n, dtype=np.int8)
    values = np.full((len(tail), BLOCK + 1), np.nan)
    for c in range(len(constants)):
        values[int(constants[c, 0])] = constants[c, 1]
    facts = np.zeros((len(comparisons) + len(joins), BLOCK), dtype=np.uint8)
    state = np.zeros((len(ops), STATE))
    for lo in range(0, n, BLOCK):
        hi = min(lo + BLOCK, n)
        m = hi - lo
        for o in range(len(ops)):
            _fill(ops[o, 0], ops[o, 1:4], reals[o], ops[o, 4:7], state[o], close, external, begin, lo, hi, values)
        for c in range(len(comparisons)):
            _compare(comparisons[c, 0], values[comparisons[c, 1]], values[comparisons[c, 2]], m, facts[c])
        for g in range(len(joins)):
            part = members[joins[g, 1] : joins[g, 2]]
            _join(facts, part, joins[g, 0] == 1, m, facts[len(comparisons) + g])
        for row in range(len(record)):
            record[row, lo:hi] = values[row, 1 : m + 1]
        out = signals[lo:hi]
        if sides[0] >= 0:
            row_of = facts[sides[0]]
            for j in range(m):
                out[j] = row_of[j]
        if sides[1] >= 0:
            row_of = facts[sides[1]]
            for j in range(m):
                out[j] -= row_of[j]
        for row in range(len(tail)):
            tail[row, 0] = values[row, m - 1]
            tail[row, 1] = values[row, m]
            values[row, 0] = values[row, m]
    return signals


@_jit(void(_SERIES, _SERIES, _SERIES, int64, int64, int64, int64, _GRID), **_entry)
def kdj(high, low, close, begin, n, k, d, out):
    """K, D and J into the rows of `out` (NaN before the first full window); MyTT's formulas.

    The smoothings start at the first raw value. A flat window takes the raw value before it, or 50.
    """
    share_k, share_d = 1.0 / k, 1.0 / d
    raw = 50.0
    fast, slow = 0.0, 0.0
    for i in range(len(close)):
        if i < begin + n - 1:
            out[:, i] = np.nan
            continue
        top, bottom = high[i], low[i]
        for w in range(i - n + 1, i):
            top, bottom = max(top, high[w]), min(bottom, low[w])
        if top > bottom:
            raw = (close[i] - bottom) / (top - bottom) * 100.0
        if i == begin + n - 1:
            fast = slow = raw
        else:
            fast = share_k * raw + (1.0 - share_k) * fast
            slow = share_d * fast + (1.0 - share_d) * slow
        out[0, i], out[1, i], out[2, i] = fast, slow, 3.0 * fast - 2.0 * slow


@_inner
def _turns(x, p, side, sign):
    """Whether bar p is a pivot: beyond every bar of the left `side`, not passed by the right `side`."""
    passed = 0
    for w in range(1, side + 1):
        passed += not (sign * x[p] < sign * x[p - w] and sign * x[p] <= sign * x[p + w])
    return passed == 0


@_jit(void(_SERIES, _SERIES, _SERIES, int64, int64, int64, float64[::1]), **_entry)
def divergence(high, low, values, side, span, begin, out):
    """+1 where a bullish divergence is confirmed, -1 a bearish one, 0 elsewhere, NaN before `begin`.

    A pivot is known `side` bars after it, and only then compared with the one before it, at most
    `span` bars away. Where both are confirmed by one bar they cancel.
    """
    last_low, last_high = -1, -1
    for i in range(len(values)):
        out[i] = 0.0 if i >= begin else math.nan
        p = i - side
        if p < side or math.isnan(values[p]):
            continue
        if _turns(low, p, side, 1.0):
            if last_low >= 0 and p - last_low <= span and low[p] < low[last_low] and values[p] > values[last_low]:
                out[i] += 1.0
            last_low = p
        if _turns(high, p, side, -1.0):
            if last_high >= 0 and p - last_high <= span and high[p] > high[last_high] and values[p] < values[last_high]:
                out[i] -= 1.0
            last_high = p
