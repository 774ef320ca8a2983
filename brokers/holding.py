"""One position while a PaperBroker works on it: floats that change in place, and their arithmetic.

All formulas are those of `brokers.accounting`; what is here is the bookkeeping around them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from brokers.accounting import (
    EXIT_LIQUIDATION,
    EXIT_NONE,
    EXIT_TARGET,
    NAN,
    REASONS,
    add_entry,
    close_amounts,
    follow_best,
    funding_received,
    inside_exit,
    is_beyond,
    liquidation_price,
    pnl_percent,
    position_leverage,
    stop_price,
    target_price,
    trade_pnl,
    trailing_price,
    unrealized_pnl,
    worse_of,
)
from brokers.terms import InstrumentTerms
from domain.trading import ClosedTrade, Intent, Position, PriceBar, Reason, Side


@dataclass(frozen=True, slots=True)
class Reduction:
    """What leaving a position, or a part of it, comes to. Money in dollars."""

    quantity: float
    price: float
    leverage: float
    margin: float
    cash_back: float
    profit: float
    fee: float
    trade: ClosedTrade


@dataclass(slots=True)
class Holding:
    """A position's numbers; `stop`, `target`: NaN for none, `liquidation`: 0 for none; `last`: last close."""

    coin: str
    sign: float
    quantity: float
    entry: float
    margin: float
    opened_ms: int
    opened_by: str
    entry_fees: float = 0.0
    funding: float = 0.0
    stop: float = NAN
    target: float = NAN
    trailing_percent: float = 0.0
    best: float = NAN
    liquidation: float = 0.0
    last: float = NAN

    @property
    def side(self) -> Side:
        return Side.LONG if self.sign > 0 else Side.SHORT

    @property
    def leverage(self) -> float:
        return position_leverage(self.quantity, self.entry, self.margin, self.funding)

    @property
    def has_levels(self) -> bool:
        """Whether any price inside a bar could end it."""
        return self.liquidation > 0 or self.trailing_percent > 0 or self.stop == self.stop or self.target == self.target

    def value_at(self, price: float) -> float:
        """margin + unrealised profit at `price`; NaN: at the last known one, or else the entry."""
        if isnan(price):
            price = self.entry if isnan(self.last) else self.last
        return self.margin + unrealized_pnl(self.sign, self.quantity, self.entry, price)

    # -- changes ----------------------------------------------------------------------

    def add(self, quantity: float, price: float, margin: float, fee: float) -> None:
        """More of the same side; levels move with the entry price, in percent as they were."""
        before = self.entry
        self.entry = add_entry(self.quantity, before, quantity, price)
        self.quantity += quantity
        self.margin += margin
        self.entry_fees += fee
        self.stop *= self.entry / before
        self.target *= self.entry / before

    def place_levels(self, intent: Intent) -> None:
        """Stop, target and trailing stop as the intent says; what it leaves at 0 stays as it is."""
        if intent.stop_loss_percent > 0:
            self.stop = stop_price(self.sign, self.entry, intent.stop_loss_percent)
        if intent.take_profit_percent > 0:
            self.target = target_price(self.sign, self.entry, intent.take_profit_percent)
        if intent.trailing_stop_percent > 0:
            self.trailing_percent = intent.trailing_stop_percent

    def place_liquidation(self, terms: InstrumentTerms) -> None:
        """Anew after every change of quantity, entry or margin."""
        mmr = terms.maintenance_rate(self.quantity * self.entry)
        self.liquidation = liquidation_price(self.sign, self.entry, self.quantity, self.margin, mmr)

    def settle(self, price: float, rate: float) -> float:
        """Funding at `price`, against the margin; returns what was received."""
        amount = funding_received(self.sign, self.quantity, price, rate, self.margin)
        self.margin += amount
        self.funding += amount
        return amount

    def reduce(self, share: float, price: float, fee_rate: float, kind: int, time_ms: int) -> Reduction:
        """Releases `share` (1 is all) of the position at `price` as filled; margin and profit in proportion."""
        quantity, margin = self.quantity * share, self.margin * share
        entry_fee, funding = self.entry_fees * share, self.funding * share
        leverage = self.leverage
        if kind == EXIT_LIQUIDATION:
            # The whole margin is lost, so neither slippage nor a fee can take more.
            back, profit, fee = 0.0, -margin, 0.0
        else:
            back, profit, fee = close_amounts(self.sign, quantity, self.entry, margin, price, fee_rate)
        pnl = trade_pnl(profit, entry_fee, fee, funding)
        trade = ClosedTrade(
            coin=self.coin,
            side=self.side,
            entry_time_ms=self.opened_ms,
            entry_price=self.entry,
            exit_time_ms=time_ms,
            exit_price=price,
            quantity=quantity,
            leverage=leverage,
            fee=entry_fee + fee,
            funding=funding,
            pnl=pnl,
            pnl_percent=pnl_percent(pnl, margin, funding),
            reason=Reason(REASONS[kind]),
        )
        self.quantity -= quantity
        self.margin -= margin
        self.entry_fees -= entry_fee
        self.funding -= funding
        return Reduction(quantity, price, leverage, margin, back, profit, fee, trade)

    # -- prices -----------------------------------------------------------------------

    def liquidated_at_open(self, bar: PriceBar) -> float:
        """Price before slippage at which this open liquidates it, NaN where it does not."""
        if not self.liquidation > 0:
            return NAN
        mark = bar.open if bar.mark_open is None else bar.mark_open
        if not is_beyond(self.sign, mark, self.liquidation):
            return NAN
        return worse_of(self.sign, bar.open, self.liquidation)

    def exit_inside(self, bar: PriceBar) -> tuple[int, float]:
        """(EXIT_*, price before slippage) of this bar; finer candles tell only where the target lies inside too."""
        mark_high = NAN if bar.mark_high is None else bar.mark_high
        mark_low = NAN if bar.mark_low is None else bar.mark_low
        trailing = trailing_price(self.sign, self.best, self.trailing_percent)
        levels = (self.liquidation, self.stop, trailing, self.target)
        kind, price = inside_exit(self.sign, bar.open, bar.high, bar.low, mark_high, mark_low, *levels)
        if kind in (EXIT_NONE, EXIT_TARGET) or not bar.detail:
            return kind, price
        if kind == EXIT_LIQUIDATION and bar.mark_low is not None:
            # Traded prices, however fine, do not tell when the mark was touched.
            return kind, price
        if is_beyond(-self.sign, bar.high if self.sign > 0 else bar.low, self.target):
            never = 0.0 if self.sign > 0 else NAN
            levels = (self.liquidation if kind == EXIT_LIQUIDATION else never, *levels[1:])
            for open_, high, low in bar.detail:
                finer, at = inside_exit(self.sign, open_, high, low, NAN, NAN, *levels)
                if finer:
                    return finer, at
        return kind, price

    def follow(self, bar: PriceBar) -> None:
        """After a bar that it survived."""
        self.best = follow_best(self.sign, self.best, bar.high, bar.low)

    # -- to and from the frozen value -------------------------------------------------

    def frozen(self) -> Position:
        return Position(
            coin=self.coin,
            side=self.side,
            quantity=self.quantity,
            avg_price=self.entry,
            margin=self.margin,
            opened_ms=self.opened_ms,
            stop_loss=_known(self.stop),
            take_profit=_known(self.target),
            trailing_stop_percent=self.trailing_percent,
            best_price=_known(self.best),
            liquidation_price=self.liquidation if self.liquidation > 0 else None,
            entry_fees=self.entry_fees,
            funding=self.funding,
            last_price=_known(self.last),
            opened_by=self.opened_by,
        )

    @staticmethod
    def thawed(position: Position) -> Holding:
        return Holding(
            coin=position.coin,
            sign=float(position.side.sign),
            quantity=position.quantity,
            entry=position.avg_price,
            margin=position.margin,
            opened_ms=position.opened_ms,
            opened_by=position.opened_by,
            entry_fees=position.entry_fees,
            funding=position.funding,
            stop=_or_nan(position.stop_loss),
            target=_or_nan(position.take_profit),
            trailing_percent=position.trailing_stop_percent,
            best=position.avg_price if position.best_price is None else position.best_price,
            liquidation=position.liquidation_price or 0.0,
            last=_or_nan(position.last_price),
        )


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _or_nan(value: float | None) -> float:
    return NAN if value is None else value
