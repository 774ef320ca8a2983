"""The arithmetic of money, once: plain pure functions on numbers.

Linear contracts quoted in a dollar stablecoin, isolated margin, one net position for each
coin. The PaperBroker calls these functions with Python floats; `simulation.kernel` compiles the
very same functions with numba, so nothing here may use None, exceptions, strings, dicts or
anything else that numba does not know. numba itself is not imported.

Conventions
- `sign` is +1 for a long and -1 for a short; `quantity` > 0 in coins; money in dollars.
- Rates are fractions (`fee_rate` 0.001 is 0.1 %), names that end in `_percent` are in percent.
- NaN stands for "there is none": no stop, no target, no mark price.
- `margin` of a position is what was paid in plus the funding received (minus the funding paid)
  since; `funding` is signed as received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from domain.market import FloatArray

NAN = float("nan")

# An order whose notional is below this many dollars is not opened.
MIN_NOTIONAL = 1.0
# Maintenance rate of an instrument of which nothing is known.
DEFAULT_MAINTENANCE_RATE = 0.01

# A price this near to a level has touched it: 100 + 10 % is 110.00000000000001 in floats. Far below any tick.
TOUCH = 1e-12

# Why a position was left: what `inside_exit` returns. The numbers index REASONS.
EXIT_NONE = 0
EXIT_SIGNAL = 1
EXIT_STOP = 2
EXIT_TARGET = 3
EXIT_TRAILING = 4
EXIT_LIQUIDATION = 5
EXIT_OPEN = 6
# Values of `domain.trading.Reason`, in the order of the numbers above.
REASONS = ("", "signal", "stop_loss", "take_profit", "trailing_stop", "liquidation", "open")


# -- prices ---------------------------------------------------------------------------


def fill_price(price: float, is_buy: bool, slippage_rate: float) -> float:
    """Price of a market fill: slippage moves it against the trader (up for a buy, down for a sell)."""
    if is_buy:
        return price * (1.0 + slippage_rate)
    return price * (1.0 - slippage_rate)


def limit_fill_price(limit: float, is_buy: bool, open_: float, high: float, low: float) -> float:
    """Price at which a resting limit order fills in this bar, NaN where it does not.

    It fills only when the bar trades through it (strictly beyond: a touch may have filled
    others in the queue), without slippage; a bar that opens beyond it fills at the open.
    """
    if is_buy and low < limit:
        return min(open_, limit)
    if not is_buy and high > limit:
        return max(open_, limit)
    return NAN


def stop_price(sign: float, entry: float, percent: float) -> float:
    """Stop-loss level: `percent` of the entry price as filled, against the position. NaN for 0."""
    if percent <= 0.0:
        return NAN
    return entry * (100.0 - sign * percent) / 100.0


def target_price(sign: float, entry: float, percent: float) -> float:
    """Take-profit level: `percent` of the entry price as filled, in the position's favour. NaN for 0."""
    if percent <= 0.0:
        return NAN
    return entry * (100.0 + sign * percent) / 100.0


def trailing_price(sign: float, best: float, percent: float) -> float:
    """Trailing-stop level: `percent` behind the best price so far. NaN for 0."""
    if percent <= 0.0:
        return NAN
    return best * (100.0 - sign * percent) / 100.0


def follow_best(sign: float, best: float, high: float, low: float) -> float:
    """Best price seen once this bar is over: its high for a long, its low for a short."""
    if sign > 0.0:
        return max(best, high)
    return min(best, low)


# -- value ----------------------------------------------------------------------------


def unrealized_pnl(sign: float, quantity: float, entry: float, price: float) -> float:
    """Profit of a position at `price`, before any exit fee."""
    return sign * quantity * (price - entry)


def position_leverage(quantity: float, entry: float, margin: float, funding: float) -> float:
    """Entry notional / margin paid in. Funding since then does not change it."""
    paid_in = margin - funding
    return quantity * entry / paid_in if paid_in > 0.0 else 0.0


# -- opening --------------------------------------------------------------------------


def open_size(equity: float, cash: float, size_percent: float, leverage: float, fee_rate: float) -> tuple[float, float]:
    """(margin, fee) of an opening fill; (0, 0) where its notional is below MIN_NOTIONAL.

    margin = size_percent / 100 x equity, notional = margin x leverage, fee = notional x fee_rate.
    What free cash cannot carry, fee included, shrinks to cash / (1 + fee_rate x leverage); the fee is
    then exactly the rest, so that all-in leaves a cash of zero and not of some 1e-12.
    """
    margin = size_percent / 100.0 * equity
    fee = margin * leverage * fee_rate
    if margin + fee > cash:
        margin = cash / (1.0 + fee_rate * leverage)
        fee = cash - margin
    if not margin * leverage >= MIN_NOTIONAL * (1.0 - TOUCH):
        return 0.0, 0.0
    return margin, fee


def add_entry(quantity: float, entry: float, more: float, price: float) -> float:
    """Average entry price after `more` coins at `price`: weighted by quantity."""
    return (quantity * entry + more * price) / (quantity + more)


# -- closing --------------------------------------------------------------------------


def close_amounts(
    sign: float, quantity: float, entry: float, margin: float, price: float, fee_rate: float
) -> tuple[float, float, float]:
    """(cash back, price profit, fee) of closing `quantity` that is backed by `margin`, at `price`.

    cash back = margin + price profit - fee, never less than zero: an isolated position loses its
    margin at most. What the margin cannot carry is cut from the loss first down to the whole
    margin, then from the fee.
    """
    profit = sign * quantity * (price - entry)
    fee = quantity * price * fee_rate
    if profit < -margin:
        profit = -margin
    left = margin + profit
    if fee > left:
        fee = left
    return left - fee, profit, fee


def trade_pnl(profit: float, entry_fee: float, exit_fee: float, funding: float) -> float:
    """A trade's profit: price profit net of both fees and of funding (signed as received)."""
    return profit - entry_fee - exit_fee + funding


def pnl_percent(pnl: float, margin: float, funding: float) -> float:
    """`pnl` in percent of the margin paid in; 0 where nothing was."""
    paid_in = margin - funding
    return pnl / paid_in * 100.0 if paid_in > 0.0 else 0.0


# -- funding --------------------------------------------------------------------------


def funding_received(sign: float, quantity: float, price: float, rate: float, margin: float) -> float:
    """What a position receives (negative: pays) at one funding time; it changes its margin by this.

    A long pays quantity x price x rate when the rate is positive, a short receives it. A position
    never pays more than the margin it has: with nothing left it is beyond its liquidation price.
    """
    amount = -sign * quantity * price * rate
    if amount < -margin:
        return -margin
    return amount


# -- liquidation ----------------------------------------------------------------------


def default_maintenance_rate(max_leverage: float) -> float:
    """1 / (2 x maximum leverage), or 1 % where that is not known (NaN or 0)."""
    if max_leverage > 0.0:
        return 1.0 / (2.0 * max_leverage)
    return DEFAULT_MAINTENANCE_RATE


def tier_maintenance_rate(
    notional: float, caps: FloatArray, rates: FloatArray, deductions: FloatArray, first: int, last: int, fallback: float
) -> float:
    """Maintenance rate of a position of entry `notional` by tiers [first, last), deduction included.

    A tier holds for notionals up to its cap; beyond the last cap the last tier holds. The venue's
    maintenance margin is notional x rate - deduction, so the rate of the whole is
    rate - deduction / notional. Without tiers: `fallback`.
    """
    if last <= first or not notional > 0.0:
        return fallback
    chosen = last - 1
    for i in range(first, last):
        if notional <= caps[i]:
            chosen = i
            break
    return float(rates[chosen] - deductions[chosen] / notional)


def liquidation_price(sign: float, entry: float, quantity: float, margin: float, mmr: float) -> float:
    """Price at which what is left of the margin equals the maintenance margin.

    Long (entry x quantity - margin) / (quantity x (1 - mmr)); short (entry x quantity + margin) /
    (quantity x (1 + mmr)). Zero: no price can liquidate it (an unlevered long).
    """
    if sign > 0.0:
        level = (entry * quantity - margin) / (quantity * (1.0 - mmr))
        # The difference of two equal sums is not quite zero in floats.
        return level if level > entry * 1e-9 else 0.0
    return (entry * quantity + margin) / (quantity * (1.0 + mmr))


def is_beyond(sign: float, price: float, level: float) -> bool:
    """Whether `price` has touched or passed a level on the losing side. False where either is NaN."""
    if sign > 0.0:
        return price <= level * (1.0 + TOUCH)
    return price >= level * (1.0 - TOUCH)


def worse_of(sign: float, price: float, level: float) -> float:
    """Fill of a level on the losing side: the open where the bar opens beyond it, else the level."""
    if sign > 0.0:
        return min(price, level)
    return max(price, level)


def inside_exit(
    sign: float,
    open_: float,
    high: float,
    low: float,
    mark_high: float,
    mark_low: float,
    liquidation: float,
    stop: float,
    trailing: float,
    target: float,
) -> tuple[int, float]:
    """What a bar does to an open position: (EXIT_*, price before slippage), (EXIT_NONE, NaN) for nothing.

    Order, always the pessimistic choice: the nearer of liquidation and stop-loss (a tie is a
    liquidation), then the trailing stop, then the target; touched counts. A bar that opens
    beyond a level fills at the open. So where stop and target both lie inside, the stop is taken.
    Marks trigger the liquidation where they are known (NaN: the traded prices do); its price is the
    traded one.
    """
    worst = low if sign > 0.0 else high
    mark = mark_low if sign > 0.0 else mark_high
    if mark != mark:
        mark = worst
    stopped = is_beyond(sign, worst, stop)
    liquidated = is_beyond(sign, mark, liquidation)
    if stopped and liquidated:
        # The nearer is the higher for a long and the lower for a short.
        liquidated = sign * liquidation >= sign * stop
        stopped = not liquidated
    if liquidated:
        return EXIT_LIQUIDATION, worse_of(sign, open_, liquidation)
    if stopped:
        return EXIT_STOP, worse_of(sign, open_, stop)
    if is_beyond(sign, worst, trailing):
        return EXIT_TRAILING, worse_of(sign, open_, trailing)
    best = high if sign > 0.0 else low
    if is_beyond(-sign, best, target):
        # On the winning side the open is the better price, and the true one.
        return EXIT_TARGET, worse_of(-sign, open_, target)
    return EXIT_NONE, NAN
