"""Values of trading: decisions, intents, verdicts, prices, orders, fills, accounts.

Amounts of money are floats here, in dollars; the ledger turns them into exact decimals
(quantum 1e-12) when it stores them. Percentages are in percent, rates are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from domain.market import Bars


class Side(StrEnum):
    LONG = "long"
    SHORT = "short"

    @property
    def sign(self) -> int:
        return 1 if self is Side.LONG else -1

    @property
    def opposite(self) -> Side:
        return Side.SHORT if self is Side.LONG else Side.LONG


class Action(StrEnum):
    """What a trader wants of one coin."""

    LONG = "LONG"
    SHORT = "SHORT"
    CLOSE = "CLOSE"
    HOLD = "HOLD"


class Result(StrEnum):
    """What a risk rule says."""

    PASS = "pass"
    CLAMP = "clamp"
    REFUSE = "refuse"


class Reason(StrEnum):
    """Why a fill happened, and why a trade ended."""

    SIGNAL = "signal"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    TRAILING_STOP = "trailing_stop"
    LIQUIDATION = "liquidation"
    OPEN = "open"


class OrderStatus(StrEnum):
    """planned -> submitted -> filled | cancelled | refused | expired.

    `refused` is a broker's no (nothing affordable, below the minimum); a risk rule's no never
    becomes an order. `expired`: found planned after a restart and too old to send.
    """

    PLANNED = "planned"
    SUBMITTED = "submitted"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a trader decided for one coin at `MarketView.now_ms`. None means "not said"."""

    coin: str
    action: Action
    leverage: float | None = None
    position_size_percent: float | None = None
    confidence: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """What may become an order. The risk rules pass, clamp or refuse it.

    `action` is LONG, SHORT or CLOSE. LONG while short (or SHORT while long) reverses: the
    close and the open are two fills of one order. LONG while long adds.
    `position_size_percent`: margin as a percentage of equity, sized at the fill.
    Stop and target percentages are of the entry price as filled; 0 is none.
    """

    coin: str
    action: Action
    client_id: str
    position_size_percent: float = 0.0
    leverage: float = 1.0
    stop_loss_percent: float = 0.0
    take_profit_percent: float = 0.0
    trailing_stop_percent: float = 0.0
    confidence: float | None = None
    decision_id: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule's answer, with its numbers: "position size: asked 40, allowed 20".

    `adjusted` is the intent to go on with where the rule clamped it, or where it refused the
    opening half of a reversal and left the close.
    """

    rule: str
    result: Result
    asked: float | None
    allowed: float | None
    reason: str
    adjusted: Intent | None = None


@dataclass(frozen=True, slots=True)
class PriceBar:
    """Prices of one coin over one step of time: a candle, or a quote with its four prices equal.

    `bid` and `ask` are set on quotes; a market sell fills at the bid, a buy at the ask. Mark
    prices are for the liquidation trigger where they are known. `detail`: (open, high, low) of
    the finer candles of this bar, oldest first, where they were asked for: they tell whether stop or
    target came first.
    """

    coin: str
    time_ms: int
    open: float
    high: float
    low: float
    close: float
    bid: float | None = None
    ask: float | None = None
    mark_open: float | None = None
    mark_high: float | None = None
    mark_low: float | None = None
    detail: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class FundingDue:
    """A funding payment due at `time_ms` on whatever position the coin then has.

    `short_rate`: what a short is settled at where it differs (None: the same). It does where a history
    has no stored rates: longs are charged a usual one, shorts are credited nothing.
    """

    coin: str
    time_ms: int
    rate: float
    short_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """One step for a broker: the bars that open at `time_ms` and end at `end_ms` (equal on quotes).

    `bars` is in pool order. `funding` holds what falls due in [time_ms, end_ms) for bars (in
    (previous step, time_ms] for quotes), oldest first; a coin without a bar in this step may still owe it.
    """

    time_ms: int
    end_ms: int
    bars: Mapping[str, PriceBar]
    funding: tuple[FundingDue, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """An order as its broker knows it."""

    intent: Intent
    status: OrderStatus
    created_ms: int
    updated_ms: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `sequence` counts the fills of one order: (client_id, sequence) is unique for ever.

    `opens` tells an opening or adding fill from a reducing one. `margin` is what was locked (opening)
    or released (reducing). `pnl` (reducing fills only) is this reduction's profit net of both fees
    and of funding. `notional` = quantity x price.
    """

    client_id: str
    sequence: int
    coin: str
    time_ms: int
    side: Side
    opens: bool
    quantity: float
    price: float
    leverage: float
    margin: float
    fee: float
    reason: Reason
    pnl: float | None = None

    @property
    def notional(self) -> float:
        return self.quantity * self.price


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One leg of a posting. The legs of one `ref` sum to zero.

    `account`: cash, margin, fees, realized (price profit and loss), funding, capital (where deposits
    come from). `ref` names the cause once and for ever: "deposit", "fill:CLIENT_ID:SEQ",
    "funding:COIN:TIME_MS", so that a second posting of the same cause is refused by the store.
    """

    ref: str
    time_ms: int
    account: str
    coin: str | None
    amount: float


@dataclass(frozen=True, slots=True)
class Position:
    """One net position of an account in one coin. Prices and money in dollars, quantity > 0 in coins.

    `opened_by` is the fill that opened it, as "CLIENT_ID:SEQUENCE": the exits that the broker
    holds for this position take their client ids from it.
    """

    coin: str
    side: Side
    quantity: float
    avg_price: float
    margin: float
    opened_ms: int
    stop_loss: float | None = None
    take_profit: float | None = None
    trailing_stop_percent: float = 0.0
    best_price: float | None = None
    liquidation_price: float | None = None
    entry_fees: float = 0.0
    funding: float = 0.0
    last_price: float | None = None
    opened_by: str = ""

    @property
    def leverage(self) -> float:
        """Entry notional / margin put in at entry; funding paid since does not change it."""
        paid_in = self.margin - self.funding
        return self.quantity * self.avg_price / paid_in if paid_in > 0 else 0.0

    @property
    def unrealized_pnl(self) -> float:
        """At the last known price; 0 before any price is known."""
        price = self.avg_price if self.last_price is None else self.last_price
        return self.side.sign * self.quantity * (price - self.avg_price)

    @property
    def value(self) -> float:
        return self.margin + self.unrealized_pnl

    @property
    def notional(self) -> float:
        return self.quantity * (self.avg_price if self.last_price is None else self.last_price)


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """One row of a trade list: one for each reduction, and one (`reason` open) for what is still open.

    `funding` is signed as received (negative: paid). `pnl` is net of both fees and funding;
    `pnl_percent` is of the margin. `exit_*` of an open trade are the last bar and close.
    """

    coin: str
    side: Side
    entry_time_ms: int
    entry_price: float
    exit_time_ms: int
    exit_price: float
    quantity: float
    leverage: float
    fee: float
    funding: float
    pnl: float
    pnl_percent: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class Account:
    """A broker's view of one account; total_value = cash + sum(position.value)."""

    cash: float
    initial_capital: float
    positions: Mapping[str, Position]
    total_fees: float = 0.0
    realized_pnl: float = 0.0
    total_funding: float = 0.0

    @property
    def positions_value(self) -> float:
        return sum(position.value for position in self.positions.values())

    @property
    def total_value(self) -> float:
        return self.cash + self.positions_value

    @property
    def margin_used(self) -> float:
        return sum(position.margin for position in self.positions.values())

    @property
    def unrealized_pnl(self) -> float:
        return sum(position.unrealized_pnl for position in self.positions.values())


@dataclass(frozen=True, slots=True)
class MarketView:
    """All that a trader and the risk rules may know. Nothing in it lies after `now_ms`.

    `coins` in the order of the pool; `bars[coin]` closed candles, oldest first, at least as many as
    the trader's warm-up where that many exist; `weights` of the pool; `fresh` the coins whose
    candle closed since the last decision; `limits` the risk limits as text.
    """

    now_ms: int
    interval: str
    coins: tuple[str, ...]
    bars: Mapping[str, Bars]
    account: Account
    weights: Mapping[str, float] = field(default_factory=dict)
    fresh: frozenset[str] = frozenset()
    opens_today: int = 0
    day_start_equity: float | None = None
    limits: tuple[str, ...] = ()
    leverage: float = 1.0
    extras: Mapping[str, Any] = field(default_factory=dict)
