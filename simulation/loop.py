# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs, disable-error-code="call-arg, misc"
"""The simulation loop, compiled by numba from the functions of `brokers.accounting`.

State and orders in, state and results out; nothing here knows of times, names or JSON (see
`simulation.kernel` for the face that people use). Float64, fastmath off: the same bars give the
same bits. The loop follows the bar order of the design, numbered 1 to 6 below.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.core.imputils import impl_ret_untracked
from numba.extending import intrinsic, register_jitable
from numba.np.arrayobj import make_array

from brokers import accounting
from brokers.accounting import (
    EXIT_LIQUIDATION,
    EXIT_NONE,
    EXIT_OPEN,
    EXIT_SIGNAL,
    EXIT_TARGET,
    NAN,
    close_amounts,
    fill_price,
    follow_best,
    funding_received,
    inside_exit,
    is_beyond,
    liquidation_price,
    open_size,
    pnl_percent,
    position_leverage,
    stop_price,
    target_price,
    tier_maintenance_rate,
    trade_pnl,
    trailing_price,
    unrealized_pnl,
    worse_of,
)

for _function in vars(accounting).copy().values():
    if inspect.isfunction(_function):
        register_jitable(_function)

# Columns of the book: one row a coin. SIDE is 0 where there is no position.
SIDE, QUANTITY, ENTRY, MARGIN, ENTRY_FEE, FUNDING, STOP, TARGET, BEST, LIQUIDATION, LAST, OPENED = range(12)
BOOK_COLUMNS = 12
# Entries of the purse.
CASH, FEES, PAID_FUNDING = range(3)
# Columns of the trade table: coin, side, rows and prices of entry and exit, and so on.
TRADE_COLUMNS = 13
# Columns of the terms, one row a coin.
SIZE_PERCENT, LEVERAGE, MMR = range(3)
TERM_COLUMNS = 3
# What an order wants, as bits.
CLOSE_IT, OPEN_LONG, OPEN_SHORT = 1, 2, 4
# Rows looked ahead at once for a stretch without an event: as much as stays in the fastest cache.
QUIET_ROWS = 1024
# Fill price modes.
NEXT_OPEN, AT_CLOSE, AT_MID = range(3)


@intrinsic
def _borrowed(typing_context, array):
    """The same array without an owner, so that passing it on counts no references (an atomic write each time).

    Half of the loop's time went there. Whoever borrows must keep the original alive meanwhile.
    """

    def codegen(context, builder, signature, arguments):
        view = make_array(signature.args[0])(context, builder, value=arguments[0])
        view.meminfo = view.meminfo.type(None)
        return impl_ret_untracked(context, builder, signature.return_type, view._getvalue())

    return array(array), codegen


@register_jitable
def _write_trade(book, c, row, price, fee, profit, reason, trades, n):
    """One row of the trade table for the position of coin c, left at `price` in `row`."""
    margin, funding, entry_fee = book[c, MARGIN], book[c, FUNDING], book[c, ENTRY_FEE]
    pnl = trade_pnl(profit, entry_fee, fee, funding)
    trades[n, 0] = c
    trades[n, 1] = book[c, SIDE]
    trades[n, 2] = book[c, OPENED]
    trades[n, 3] = book[c, ENTRY]
    trades[n, 4] = row
    trades[n, 5] = price
    trades[n, 6] = book[c, QUANTITY]
    trades[n, 7] = position_leverage(book[c, QUANTITY], book[c, ENTRY], margin, funding)
    trades[n, 8] = entry_fee + fee
    trades[n, 9] = funding
    trades[n, 10] = pnl
    trades[n, 11] = pnl_percent(pnl, margin, funding)
    trades[n, 12] = reason


@register_jitable
def _leave(book, purse, c, row, price, reason, costs, trades, n):
    """Closes the position of coin c; `price` is before slippage. Returns the number of trades."""
    sign, margin = book[c, SIDE], book[c, MARGIN]
    if reason == EXIT_LIQUIDATION:
        # The whole margin is lost, so neither slippage nor a fee can take more.
        profit, fee = -margin, 0.0
    else:
        price = fill_price(price, sign < 0.0, costs[1])
        back, profit, fee = close_amounts(sign, book[c, QUANTITY], book[c, ENTRY], margin, price, costs[0])
        purse[CASH] += back
        purse[FEES] += fee
    _write_trade(book, c, row, price, fee, profit, reason, trades, n)
    book[c, SIDE] = 0.0
    return n + 1


@register_jitable
def _enter(book, purse, c, row, sign, price, equity, terms, costs, tiers, tier_start):
    """Opens a position of coin c; `price` is before slippage. Returns 1, or 0 where nothing opened."""
    leverage = terms[c, LEVERAGE]
    margin, fee = open_size(equity, purse[CASH], terms[c, SIZE_PERCENT], leverage, costs[0])
    if margin <= 0.0:
        return 0
    filled = fill_price(price, sign > 0.0, costs[1])
    notional = margin * leverage
    quantity = notional / filled
    mmr = tier_maintenance_rate(notional, tiers[0], tiers[1], tiers[2], tier_start[c], tier_start[c + 1], terms[c, MMR])
    purse[CASH] = purse[CASH] - margin - fee
    purse[FEES] += fee
    book[c, SIDE] = sign
    book[c, QUANTITY] = quantity
    book[c, ENTRY] = filled
    book[c, MARGIN] = margin
    book[c, ENTRY_FEE] = fee
    book[c, FUNDING] = 0.0
    book[c, STOP] = stop_price(sign, filled, costs[2])
    book[c, TARGET] = target_price(sign, filled, costs[3])
    book[c, BEST] = filled
    book[c, LIQUIDATION] = liquidation_price(sign, filled, quantity, margin, mmr)
    book[c, LAST] = price
    book[c, OPENED] = row
    return 1


@register_jitable
def _settle(book, purse, c, price, rate, terms, tiers, tier_start):
    """One funding payment on the position of coin c, against its margin."""
    sign, quantity, entry = book[c, SIDE], book[c, QUANTITY], book[c, ENTRY]
    amount = funding_received(sign, quantity, price, rate, book[c, MARGIN])
    book[c, MARGIN] += amount
    book[c, FUNDING] += amount
    purse[PAID_FUNDING] += amount
    mmr = tier_maintenance_rate(
        quantity * entry, tiers[0], tiers[1], tiers[2], tier_start[c], tier_start[c + 1], terms[c, MMR]
    )
    book[c, LIQUIDATION] = liquidation_price(sign, entry, quantity, book[c, MARGIN], mmr)


@register_jitable
def _equity_at(book, purse, prices):
    """cash + sum(margin + unrealised profit) at `prices`, at the last close where one is NaN."""
    equity = purse[CASH]
    for c in range(book.shape[0]):
        if book[c, SIDE] != 0.0:
            price = prices[c] if prices[c] == prices[c] else book[c, LAST]
            equity += book[c, MARGIN] + unrealized_pnl(book[c, SIDE], book[c, QUANTITY], book[c, ENTRY], price)
    return equity


@register_jitable
def _fill_orders(book, purse, pending, row, prices, terms, costs, tiers, tier_start, trades, n):
    """Fills what waits at `prices` (NaN: the coin has none now): all closes, then opens in pool order."""
    for c in range(book.shape[0]):
        if pending[c] & CLOSE_IT and prices[c] == prices[c]:
            pending[c] &= ~CLOSE_IT
            if book[c, SIDE] != 0.0:
                n = _leave(book, purse, c, row, prices[c], EXIT_SIGNAL, costs, trades, n)
    for c in range(book.shape[0]):
        if pending[c] != 0 and prices[c] == prices[c]:
            sign = 1.0 if pending[c] & OPEN_LONG else -1.0
            pending[c] = 0
            equity = _equity_at(book, purse, prices)
            _enter(book, purse, c, row, sign, prices[c], equity, terms, costs, tiers, tier_start)
    return n


@register_jitable
def _wanted(signal, side, direction):
    """Order bits that a signal gives while `side` is held; `direction` 1 long, -1 short, 0 both."""
    if signal > 0:
        order = CLOSE_IT if side < 0.0 else 0
        if side <= 0.0 and direction >= 0:
            order |= OPEN_LONG
        return order
    order = CLOSE_IT if side > 0.0 else 0
    if side >= 0.0 and direction <= 0:
        order |= OPEN_SHORT
    return order


@register_jitable
def _exit_of(book, c, i, o, h, low, marks, trailing_percent, detail, detail_start, in_order):
    """inside_exit() of bar i for coin c; finer candles tell only where the target lies inside too."""
    sign = book[c, SIDE]
    mark_high, mark_low = NAN, NAN
    if marks.shape[1] > 0:
        mark_high, mark_low = marks[1, i], marks[2, i]
    stop, target, liquidation = book[c, STOP], book[c, TARGET], book[c, LIQUIDATION]
    trailing = trailing_price(sign, book[c, BEST], trailing_percent)
    kind, price = inside_exit(sign, o, h, low, mark_high, mark_low, liquidation, stop, trailing, target)
    if kind in (EXIT_NONE, EXIT_TARGET) or detail.shape[1] == 0 or not in_order:
        return kind, price
    if kind == EXIT_LIQUIDATION and mark_low == mark_low:
        # Traded prices, however fine, do not tell when the mark was touched.
        return kind, price
    if is_beyond(-sign, h if sign > 0.0 else low, target):
        if kind != EXIT_LIQUIDATION:
            liquidation = 0.0 if sign > 0.0 else NAN
        for j in range(detail_start[i], detail_start[i + 1]):
            finer, at = inside_exit(
                sign, detail[0, j], detail[1, j], detail[2, j], NAN, NAN, liquidation, stop, trailing, target
            )
            if finer != EXIT_NONE:
                return finer, at
    return kind, price


@register_jitable
def _grown(table, used, spare):
    """`table` itself, or a copy of twice the rows where fewer than `spare` are left."""
    if used + spare <= table.shape[0]:
        return table
    larger = np.empty((2 * table.shape[0] + spare, table.shape[1]))
    larger[:used] = table[:used]
    return larger


@register_jitable
def _liquidate_at_open(book, purse, c, i, row, o, marks, costs, trades, n):
    """Liquidates coin c where the open of bar i (its mark where known) has passed the price for it."""
    sign, level = book[c, SIDE], book[c, LIQUIDATION]
    mark = marks[0, i] if marks.shape[1] > 0 else NAN
    if mark != mark:
        mark = o[i]
    if is_beyond(sign, mark, level):
        return _leave(book, purse, c, row, worse_of(sign, o[i], level), EXIT_LIQUIDATION, costs, trades, n)
    return n


@register_jitable
def _settle_bar(book, purse, c, i, at_open, o, funding, funding_rate, event, terms, tiers, tier_start):
    """Settles what is due at the open of bar i (or inside it), past what concerned no position."""
    p, end = event[c], event[c + book.shape[0]]
    while p < end and (funding[0, p] < i or (funding[0, p] == i and not at_open and funding[1, p] == 1)):
        p += 1
    while p < end and funding[0, p] == i and (not at_open or funding[1, p] == 1):
        rate = funding_rate[0, p] if book[c, SIDE] > 0.0 else funding_rate[1, p]
        _settle(book, purse, c, o[i], rate, terms, tiers, tier_start)
        p += 1
    event[c] = p


@register_jitable
def _acts(signal, side, direction):
    """Whether a signal gives an order while `side` is held: `_wanted` without its bits."""
    if signal > 0:
        return side < 0.0 or (side == 0.0 and direction >= 0)
    return signal < 0 and (side > 0.0 or (side == 0.0 and direction <= 0))


@register_jitable
def _next_order(row, limit, offset, signals, side, direction):
    """First row of [row, limit) whose signal gives coin an order; `limit` if none does."""
    for r in range(row, limit):
        signal = signals[offset + r]
        if signal != 0 and _acts(signal, side, direction):
            return r
    return limit


@register_jitable
def _next_touch(book, c, row, limit, offset, h, low, has_marks, trailing):
    """First row of [row, limit) that touches a level of coin c's position; `limit` if none does.

    Never too late; sometimes too early, and with marks at once: then the rows are walked one by one.
    """
    sign = book[c, SIDE]
    liquidation, stop, target, best = book[c, LIQUIDATION], book[c, STOP], book[c, TARGET], book[c, BEST]
    if liquidation > 0.0:
        if has_marks:
            return row
        # The nearer of the two: the higher for a long, the lower for a short.
        stop = liquidation if stop != stop or sign * liquidation > sign * stop else stop
    has_stop, has_target, has_trailing = stop == stop, target == target, trailing > 0.0
    if not (has_stop or has_target or has_trailing):
        return limit
    follow = trailing_price(sign, best, trailing)
    for r in range(row, limit):
        high, worst = (h[offset + r], low[offset + r]) if sign > 0.0 else (low[offset + r], h[offset + r])
        if is_beyond(sign, worst, stop) or is_beyond(-sign, high, target):
            return r
        if has_trailing:
            if is_beyond(sign, worst, follow):
                return r
            if sign * high > sign * best:
                best = high
                follow = trailing_price(sign, best, trailing)
    return limit


@register_jitable
def _quiet_rows(book, row, rows, offsets, h, low, signals, has_marks, trailing, direction, funding, event, quiet):
    """Row before which nothing happens to any coin, from `row` on; at most QUIET_ROWS further.

    quiet (n, 4) remembers each coin's next order and touch, and the position that they belong to.
    """
    n_coins = book.shape[0]
    limit = min(rows, row + QUIET_ROWS)
    until = limit
    for c in range(n_coins):
        held = book[c, SIDE] * (book[c, OPENED] + 1.0)
        changed = quiet[c, 2] != held
        if changed or quiet[c, 0] <= row:
            quiet[c, 0] = _next_order(row, limit, offsets[c], signals, book[c, SIDE], direction)
        until = min(until, int(quiet[c, 0]))
        if held != 0.0:
            if changed or quiet[c, 1] <= row or quiet[c, 3] != book[c, MARGIN]:
                quiet[c, 1] = _next_touch(book, c, row, limit, offsets[c], h, low, has_marks, trailing)
            until = min(until, int(quiet[c, 1]))
            p, end = event[c], event[c + n_coins]
            while p < end and funding[0, p] < offsets[c] + row:
                p += 1
            event[c] = p
            if p < end:
                until = min(until, funding[0, p] - offsets[c])
        quiet[c, 2], quiet[c, 3] = held, book[c, MARGIN]
        if until <= row:
            return row
    return until


@register_jitable
def _mark_rows(book, cash, row, until, offsets, h, low, close, trailing, out):
    """Equity at the closes of [row, until) into `out`, in the order of the pool; bit for bit as row by row."""
    count = until - row
    for k in range(count):
        out[k] = cash
    for c in range(book.shape[0]):
        side, quantity, entry, margin = book[c, SIDE], book[c, QUANTITY], book[c, ENTRY], book[c, MARGIN]
        if side != 0.0:
            first = offsets[c] + row
            part = close[first : first + count]
            for k in range(count):
                out[k] += margin + unrealized_pnl(side, quantity, entry, part[k])
            book[c, LAST] = part[count - 1]
            if trailing > 0.0:
                best = book[c, BEST]
                for k in range(count):
                    best = follow_best(side, best, h[first + k], low[first + k])
                book[c, BEST] = best


@register_jitable
def _track_rows(out, count, track):
    """Peak, drawdown and last equity over the first `count` values."""
    peak, drawdown = track[0], track[1]
    floor = peak * (1.0 - drawdown)
    for k in range(count):
        equity = out[k]
        if equity > peak:
            peak = equity
            floor = peak * (1.0 - drawdown)
        elif equity < floor:
            drawdown = (peak - equity) / peak
            floor = equity
    track[0], track[1], track[2] = peak, drawdown, out[count - 1]


@register_jitable
def _rows(
    row,
    rows,
    index,
    offsets,
    o,
    h,
    low,
    close,
    signals,
    marks,
    detail,
    detail_start,
    funding,
    funding_rate,
    terms,
    tiers,
    tier_start,
    day_rows,
    costs,
    direction,
    mode,
    book,
    purse,
    pending,
    bar,
    prices,
    event,
    counts,
    track,
    quiet,
    scratch,
    equity_curve,
    day_equity,
    trades,
    cash_log,
):
    """Runs rows from `row` on until the end or until a table is full; returns the next row.

    Nothing here assigns an array to a name: that would count references in every row.
    """
    n_coins = offsets.shape[0] - 1
    aligned = index.shape[1] == 0
    keeps_curve = equity_curve.shape[0] > 0
    has_levels = costs[2] > 0.0 or costs[3] > 0.0 or costs[4] > 0.0
    has_funding = funding.shape[1] > 0
    has_marks = marks.shape[1] > 0
    days = day_rows.shape[0]
    n_trades, n_cash, held_rows, day = counts[0], counts[1], counts[2], counts[3]
    waiting, held = counts[4] != 0, counts[5] != 0
    peak, drawdown, equity = track[0], track[1], track[2]
    floor = peak * (1.0 - drawdown)
    logged = cash_log[n_cash - 1, 1]
    next_day = day_rows[day] if day < days else -1
    while row < rows:
        if n_trades + 3 * n_coins > trades.shape[0] or n_cash >= cash_log.shape[0]:
            break
        if aligned and not waiting:
            # A stretch in which nothing happens needs no more than its marks.
            until = _quiet_rows(
                book, row, rows, offsets, h, low, signals, has_marks, costs[4], direction, funding, event, quiet
            )
            if until > row:
                out = equity_curve[row:until] if keeps_curve else scratch
                _mark_rows(book, purse[CASH], row, until, offsets, h, low, close, costs[4], out)
                track[0], track[1] = peak, drawdown
                _track_rows(out, until - row, track)
                peak, drawdown, equity = track[0], track[1], track[2]
                floor = peak * (1.0 - drawdown)
                if held:
                    held_rows += until - row
                if purse[CASH] != logged:
                    logged = purse[CASH]
                    cash_log[n_cash, 0], cash_log[n_cash, 1] = row, logged
                    n_cash += 1
                while row <= next_day < until:
                    day_equity[day] = out[next_day - row]
                    day += 1
                    next_day = day_rows[day] if day < days else -1
                row = until
                continue
        if waiting or held:
            for c in range(n_coins):
                i = row if aligned else index[c, row]
                bar[c] = offsets[c] + i if i >= 0 else -1
            if held:
                for c in range(n_coins):
                    i = bar[c]
                    if i >= 0 and book[c, SIDE] != 0.0:
                        # 1. Funding due exactly at this open, on the positions carried in.
                        if has_funding:
                            _settle_bar(
                                book, purse, c, i, True, o, funding, funding_rate, event, terms, tiers, tier_start
                            )
                        # 2. A carried position whose liquidation price this open has passed.
                        if book[c, LIQUIDATION] > 0.0:
                            n_trades = _liquidate_at_open(book, purse, c, i, row, o, marks, costs, trades, n_trades)
            # 3. Orders decided at the last close: all closes, then opens in the order of the pool.
            if waiting:
                for c in range(n_coins):
                    i = bar[c]
                    if i < 0:
                        prices[c] = NAN
                    else:
                        prices[c] = 0.5 * (h[i] + low[i]) if mode == AT_MID else o[i]
                n_trades = _fill_orders(
                    book, purse, pending, row, prices, terms, costs, tiers, tier_start, trades, n_trades
                )
                waiting = False
                for c in range(n_coins):
                    waiting = waiting or pending[c] != 0
            for c in range(n_coins):
                i = bar[c]
                if i < 0 or book[c, SIDE] == 0.0:
                    continue
                # 4. Funding due inside this bar, on the positions now open.
                if has_funding:
                    _settle_bar(book, purse, c, i, False, o, funding, funding_rate, event, terms, tiers, tier_start)
                # 5. Liquidation, stop, trailing stop, target; the bar of entry included.
                if not has_levels and book[c, LIQUIDATION] <= 0.0:
                    continue
                # At mid, what opened in this bar has not seen its open.
                new_at_mid = mode == AT_MID and book[c, OPENED] == row
                first = book[c, LAST] if new_at_mid else o[i]
                kind, at = _exit_of(
                    book, c, i, first, h[i], low[i], marks, costs[4], detail, detail_start, not new_at_mid
                )
                if kind != EXIT_NONE:
                    n_trades = _leave(book, purse, c, row, at, kind, costs, trades, n_trades)
                else:
                    book[c, BEST] = follow_best(book[c, SIDE], book[c, BEST], h[i], low[i])
        # 6. Close: mark, record, decide.
        equity = purse[CASH]
        held = False
        for c in range(n_coins):
            i = row if aligned else index[c, row]
            i = offsets[c] + i if i >= 0 else -1
            side = book[c, SIDE]
            if side != 0.0:
                held = True
                if i >= 0:
                    book[c, LAST] = close[i]
                equity += book[c, MARGIN] + unrealized_pnl(side, book[c, QUANTITY], book[c, ENTRY], book[c, LAST])
            # The last bar has no later price, and its own close must not be an exception.
            if i >= 0 and signals[i] != 0 and i + 1 < offsets[c + 1]:
                order = _wanted(signals[i], side, direction)
                if order != 0:
                    pending[c] = order
                    waiting = True
        if purse[CASH] != logged:
            logged = purse[CASH]
            cash_log[n_cash, 0], cash_log[n_cash, 1] = row, logged
            n_cash += 1
        if held:
            held_rows += 1
        if keeps_curve:
            equity_curve[row] = equity
        if equity > peak:
            peak = equity
            floor = peak * (1.0 - drawdown)
        elif equity < floor:
            drawdown = (peak - equity) / peak
            floor = equity
        if row == next_day:
            day_equity[day] = equity
            day += 1
            next_day = day_rows[day] if day < days else -1
        if waiting and mode == AT_CLOSE:
            for c in range(n_coins):
                i = row if aligned else index[c, row]
                prices[c] = close[offsets[c] + i] if i >= 0 else NAN
            n_trades = _fill_orders(
                book, purse, pending, row, prices, terms, costs, tiers, tier_start, trades, n_trades
            )
            waiting = False
            for c in range(n_coins):
                held = held or book[c, SIDE] != 0.0
        row += 1
    counts[0], counts[1], counts[2], counts[3] = n_trades, n_cash, held_rows, day
    counts[4], counts[5] = waiting, held
    track[0], track[1], track[2] = peak, drawdown, equity
    return row


def run(
    rows,
    index,
    offsets,
    o,
    h,
    low,
    close,
    signals,
    marks,
    detail,
    detail_start,
    funding_start,
    funding,
    funding_rate,
    terms,
    tiers,
    tier_start,
    day_rows,
    costs,
    capital,
    direction,
    mode,
    lean,
):
    """The loop. Shapes: n coins, b bars of all coins one after another, f funding events, d days.

    rows: number of rows of the grid; index int32 (n, rows): bar of the coin in that row or -1, shape
    (n, 0) where every coin has every row; offsets int64 (n + 1): first bar of each coin; o, h, low,
    close float64 (b,); signals int8 (b,); marks float64 (3, b or 0): open, high, low; detail float64
    (3, m or 0) with detail_start int64 (b + 1); funding int64 (2, f): bar, and 1 where it is due at its
    open, with funding_start int64 (n + 1) and funding_rate (2, f) of longs, of shorts; terms (n, 3); tiers (3, t) with
    tier_start (n + 1); day_rows int64 (d,): last row of each day, ascending; costs (5,): fee rate,
    slippage rate, stop, target, trailing percent. direction 1 long, -1 short, 0 both.

    Returns equity (rows or 0), day equity (d), trades (k, 13), cash log (m, 2): row and cash, and totals
    (7): final value, cash, fees, funding, drawdown as a fraction, held rows, number of closed trades.
    """
    n_coins = offsets.shape[0] - 1
    book = np.zeros((n_coins, BOOK_COLUMNS))
    purse = np.zeros(3)
    purse[CASH] = capital
    pending = np.zeros(n_coins, dtype=np.int8)
    bar = np.full(n_coins, -1, dtype=np.int64)
    prices = np.full(n_coins, NAN)
    # Next funding event of each coin, then the end of its events.
    event = np.concatenate((funding_start[:-1], funding_start[1:]))
    # Trades, entries of the cash log, rows held, days, whether something waits, whether something is held.
    counts = np.zeros(6, dtype=np.int64)
    counts[1] = 1
    track = np.array([capital, 0.0, capital])
    quiet = np.full((n_coins, 4), -1.0)
    scratch = np.empty(QUIET_ROWS if lean else 0)
    equity_curve = np.empty(0 if lean else rows)
    day_equity = np.empty(day_rows.shape[0])
    trades = np.empty((64 + 3 * n_coins, TRADE_COLUMNS))
    cash_log = np.empty((128, 2))
    cash_log[0, 0], cash_log[0, 1] = 0.0, capital
    row = 0
    while row < rows:
        trades = _grown(trades, counts[0], 3 * n_coins)
        cash_log = _grown(cash_log, counts[1], 1)
        row = _rows(
            row,
            rows,
            _borrowed(index),
            _borrowed(offsets),
            _borrowed(o),
            _borrowed(h),
            _borrowed(low),
            _borrowed(close),
            _borrowed(signals),
            _borrowed(marks),
            _borrowed(detail),
            _borrowed(detail_start),
            _borrowed(funding),
            _borrowed(funding_rate),
            _borrowed(terms),
            _borrowed(tiers),
            _borrowed(tier_start),
            _borrowed(day_rows),
            _borrowed(costs),
            direction,
            mode,
            _borrowed(book),
            _borrowed(purse),
            _borrowed(pending),
            _borrowed(bar),
            _borrowed(prices),
            _borrowed(event),
            _borrowed(counts),
            _borrowed(track),
            _borrowed(quiet),
            _borrowed(scratch),
            _borrowed(equity_curve),
            _borrowed(day_equity),
            _borrowed(trades),
            _borrowed(cash_log),
        )
    closed = counts[0]
    n = closed
    trades = _grown(trades, n, n_coins)
    for c in range(n_coins):
        if book[c, SIDE] != 0.0:
            last_row = rows - 1
            while index.shape[1] > 0 and index[c, last_row] < 0:
                last_row -= 1
            profit = unrealized_pnl(book[c, SIDE], book[c, QUANTITY], book[c, ENTRY], book[c, LAST])
            _write_trade(book, c, last_row, book[c, LAST], 0.0, profit, EXIT_OPEN, trades, n)
            n += 1
    totals = np.array([track[2], purse[CASH], purse[FEES], purse[PAID_FUNDING], track[1], counts[2], closed])
    return equity_curve, day_equity, trades[:n], cash_log[: counts[1]], totals


_loop = numba.njit(nogil=True)(run)


def _cached(sources: str) -> Callable[..., Any]:
    """`run` with a cache on disk that is keyed by the text of what it was compiled from.

    numba's cache looks at the time stamp of this file alone; a changed `accounting.py` would go
    on running as old machine code. A value that the function closes over is part of the key.
    """

    @numba.njit(nogil=True, cache=True)
    def cached_run(*arguments):
        if sources == "":
            return _loop(*arguments)
        return _loop(*arguments)

    return cached_run


_SOURCES = hashlib.sha256(inspect.getsource(accounting).encode()).hexdigest()
cached_run = _cached(_SOURCES)
