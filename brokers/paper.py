"""PaperBroker: an account whose fills are simulated, over history or on a live feed.

The arithmetic is `brokers.accounting`, the order of things inside a step of prices the design's
(1 to 6 below), the same as in `simulation.loop`: one law demands that both agree.

Ledger: the legs of each posting are debits (+) and credits (-) and sum to zero. `cash`, `margin` and
`fees` rise with a debit; `realized` (price profit), `funding` (received) and `capital` are
credited, so a profit stands there as a negative amount. Cash is the sum of its legs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from uuid import UUID, uuid5

from brokers.accounting import (
    EXIT_LIQUIDATION,
    EXIT_NONE,
    EXIT_OPEN,
    EXIT_SIGNAL,
    MIN_NOTIONAL,
    NAN,
    REASONS,
    fill_price,
    open_size,
)
from brokers.holding import Holding, Reduction
from brokers.terms import AccountTerms, InstrumentTerms, MemoryJournal, PaperState
from domain.errors import Conflict, InvalidValue
from domain.ports import Batch, Journal
from domain.times import MINUTE_MS
from domain.trading import (
    Account,
    Action,
    ClosedTrade,
    Fill,
    FundingDue,
    Intent,
    LedgerEntry,
    Order,
    OrderStatus,
    Position,
    PriceBar,
    Prices,
    Reason,
)

__all__ = ["AccountTerms", "InstrumentTerms", "MemoryJournal", "PaperBroker", "PaperState"]

# Client ids of exits that the broker holds itself; any fixed number does.
EXIT_IDS = UUID("7d1d9f4e-5d0b-4a39-9f5c-0b1a3f1c6a52")
# Fills that `fills()` still knows of; the journal has them all.
RECENT_FILLS = 10_000

_UNKNOWN_INSTRUMENT = InstrumentTerms()


class _Changes:
    """What one call changes, on its way into a Batch."""

    __slots__ = ("entries", "fills", "orders", "time_ms", "touched", "trades")

    def __init__(self, time_ms: int) -> None:
        self.time_ms = time_ms
        self.orders: list[Order] = []
        self.fills: list[Fill] = []
        self.entries: list[LedgerEntry] = []
        self.trades: list[ClosedTrade] = []
        self.touched: dict[str, None] = {}

    def post(self, ref: str, coin: str | None, *legs: tuple[str, float]) -> None:
        self.entries += [LedgerEntry(ref, self.time_ms, account, coin, amount) for account, amount in legs if amount]

    def __bool__(self) -> bool:
        return bool(self.orders or self.entries)


class PaperBroker:
    """One simulated account; implements domain.ports.Broker. Called by one thread at a time.

    Built without a state it deposits its capital (ref "deposit", at `opened_ms`). Every change is
    in the journal before the call returns; where the journal refuses, the error passes through and
    this object must be thrown away and rebuilt from what is stored (it refuses further calls).
    `Batch.trades` are in the order of the reducing fills: one row for each. `Batch.positions` names every
    position whose stored form is out of date, so that a state read back at `settled_ms` is whole.
    """

    def __init__(
        self, terms: AccountTerms, journal: Journal, state: PaperState | None = None, opened_ms: int = 0
    ) -> None:
        self._journal = journal
        self._failed = False
        self._recent: deque[Fill] = deque(maxlen=RECENT_FILLS)
        self.change_terms(terms)
        if state is None:
            state = PaperState(settled_ms=opened_ms, cash=terms.initial_capital)
            deposit = _Changes(opened_ms)
            deposit.post("deposit", None, ("cash", state.cash), ("capital", -state.cash))
            journal.record(Batch(settled_ms=opened_ms, entries=tuple(deposit.entries)))
        self._settled_ms = state.settled_ms
        self._cash = state.cash
        self._fees, self._funding, self._realized = state.total_fees, state.total_funding, state.realized
        self._holdings = {position.coin: Holding.thawed(position) for position in state.positions}
        self._orders = {order.intent.client_id: order for order in state.orders}
        self._known = set(state.known_ids) | set(self._orders)
        self._last_bars = dict(state.last_bars)

    # -- the port ---------------------------------------------------------------------

    def submit(self, intent: Intent) -> None:
        """Takes the order; it fills at the coin's first price after this. A known client_id is a no-op.

        InvalidValue where a size or a leverage makes no sense.
        """
        self._check_usable()
        if intent.client_id in self._known:
            return
        _validate(intent)
        order = Order(intent, OrderStatus.SUBMITTED, self._settled_ms, self._settled_ms)
        self._journal.record(Batch(settled_ms=self._settled_ms, orders=(order,)))
        self._known.add(intent.client_id)
        self._orders[intent.client_id] = order

    def cancel(self, client_id: str) -> None:
        """Takes back an order that still waits; unknown and finished ones are left alone."""
        self._check_usable()
        order = self._orders.get(client_id)
        if order is None:
            return
        cancelled = replace(order, status=OrderStatus.CANCELLED, updated_ms=self._settled_ms)
        self._journal.record(Batch(settled_ms=self._settled_ms, orders=(cancelled,)))
        del self._orders[client_id]

    def advance(self, prices: Prices) -> Batch:
        """Applies one step of prices; what it changed is in the journal when this returns."""
        self._check_usable()
        changes = _Changes(prices.time_ms)
        bars = prices.bars
        carried = [due for due in prices.funding if _minute(due.time_ms) <= prices.time_ms]
        inside = [due for due in prices.funding if _minute(due.time_ms) > prices.time_ms]
        for coin, bar in bars.items():
            if coin in self._holdings or self._orders:
                self._last_bars[coin] = (prices.time_ms, bar.open)
        # 1. Funding due at this open (or since the last price), on the positions carried in.
        self._settle_funding(carried, changes)
        # 2. Carried positions whose liquidation price this open has passed.
        for holding in self._in_pool_order(bars):
            at = holding.liquidated_at_open(bars[holding.coin])
            if at == at:
                self._exit(holding, EXIT_LIQUIDATION, at, changes)
        # 3. Orders decided before: all closes, then opens in the order of the pool.
        if self._orders:
            self._fill_orders(bars, changes)
        # 4. Funding due inside this step, on the positions now open.
        self._settle_funding(inside, changes)
        # 5. Liquidation, stop, trailing stop, target. 6. The close.
        for holding in self._in_pool_order(bars):
            self._walk(holding, bars[holding.coin], changes)
        self._settled_ms = prices.end_ms
        return self._recorded(changes)

    def poll(self) -> None:
        """Nothing to ask: what happens to a simulated account happens in `advance`."""

    def account(self) -> Account:
        """The account at the last known prices."""
        return Account(
            cash=self._cash,
            initial_capital=self._terms.initial_capital,
            positions={coin: holding.frozen() for coin, holding in self._holdings.items()},
            total_fees=self._fees,
            realized_pnl=self._realized - self._fees + self._funding,
            total_funding=self._funding,
        )

    def fills(self, since_ms: int) -> list[Fill]:
        """Fills of this process at or after `since_ms`, oldest first (the latest 10,000)."""
        return [fill for fill in self._recent if fill.time_ms >= since_ms]

    def open_orders(self) -> list[Order]:
        """Orders that wait for a price, in the order of their submission."""
        return list(self._orders.values())

    # -- beside the port --------------------------------------------------------------

    @property
    def settled_ms(self) -> int:
        """Every price up to here has been applied."""
        return self._settled_ms

    def state(self) -> PaperState:
        """All that a broker needs to go on from here exactly; see PaperState."""
        return PaperState(
            settled_ms=self._settled_ms,
            cash=self._cash,
            positions=tuple(holding.frozen() for holding in self._holdings.values()),
            orders=tuple(self._orders.values()),
            last_bars={coin: bar for coin, bar in self._last_bars.items() if coin in self._holdings},
            total_fees=self._fees,
            total_funding=self._funding,
            realized=self._realized,
            known_ids=frozenset(self._known),
        )

    def change_terms(self, terms: AccountTerms) -> None:
        """The owner edited the account: holds for what fills from now on. Never moves money."""
        self._terms = terms
        self._rank = {coin: i for i, coin in enumerate(terms.coins)}

    def open_trades(self) -> list[ClosedTrade]:
        """What is still open as rows of a trade list: at the last price, without an exit fee, reason `open`."""
        rows = []
        for holding in self._holdings.values():
            copy = replace(holding)
            last_ms = self._last_bars[holding.coin][0] if holding.coin in self._last_bars else holding.opened_ms
            last = copy.entry if copy.last != copy.last else copy.last
            trade = copy.reduce(1.0, last, 0.0, EXIT_OPEN, last_ms).trade
            profit = holding.value_at(NAN) - holding.margin
            pnl = profit - holding.entry_fees + holding.funding
            paid_in = holding.margin - holding.funding
            rows.append(replace(trade, pnl=pnl, pnl_percent=pnl / paid_in * 100.0 if paid_in > 0 else 0.0))
        return rows

    # -- inside a step ----------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._failed:
            raise Conflict("this account's journal refused a change; read its state back from the store")

    def _in_pool_order(self, bars: Mapping[str, PriceBar]) -> list[Holding]:
        held = [holding for coin, holding in self._holdings.items() if coin in bars]
        if len(held) > 1:
            held.sort(key=lambda holding: self._rank.get(holding.coin, len(self._rank)))
        return held

    def _instrument(self, coin: str) -> InstrumentTerms:
        return self._terms.instruments.get(coin, _UNKNOWN_INSTRUMENT)

    def _settle_funding(self, dues: Sequence[FundingDue], changes: _Changes) -> None:
        for due in dues:
            holding = self._holdings.get(due.coin)
            if holding is None:
                continue
            price = self._last_bars[due.coin][1] if due.coin in self._last_bars else holding.last
            rate = due.rate if holding.sign > 0 or due.short_rate is None else due.short_rate
            amount = holding.settle(price, rate)
            self._funding += amount
            holding.place_liquidation(self._instrument(due.coin))
            changes.post(
                f"funding:{due.coin}:{_minute(due.time_ms)}", due.coin, ("margin", amount), ("funding", -amount)
            )
            changes.touched[due.coin] = None

    def _fill_orders(self, bars: Mapping[str, PriceBar], changes: _Changes) -> None:
        ready = [order for order in self._orders.values() if order.intent.coin in bars]
        if len(ready) > 1:
            ready.sort(key=lambda order: self._rank.get(order.intent.coin, len(self._rank)))
        closed = [order for order in ready if self._fill_close(order, bars[order.intent.coin], changes)]
        for order in ready:
            sequence = 1 if order in closed else 0
            refusal = ""
            if order.intent.action is Action.CLOSE:
                refusal = "" if sequence else "there was no position to close"
            elif not self._fill_open(order, sequence, bars, changes):
                refusal = f"nothing opened: free cash carries less than a notional of {MIN_NOTIONAL:g}"
            status = OrderStatus.REFUSED if refusal and not sequence else OrderStatus.FILLED
            changes.orders.append(replace(order, status=status, updated_ms=changes.time_ms, reason=refusal))
            del self._orders[order.intent.client_id]

    def _fill_close(self, order: Order, bar: PriceBar, changes: _Changes) -> bool:
        """The closing fill of a close or of a reversal; False where there is nothing to close."""
        intent = order.intent
        holding = self._holdings.get(intent.coin)
        if holding is None:
            return False
        wanted = {Action.LONG: 1.0, Action.SHORT: -1.0}.get(intent.action, 0.0)
        if wanted == holding.sign:
            return False
        price = _market_price(bar, holding.sign < 0)
        price = fill_price(price, holding.sign < 0, self._terms.slippage_rate)
        self._leave(holding, intent.client_id, EXIT_SIGNAL, price, changes)
        return True

    def _fill_open(self, order: Order, sequence: int, bars: Mapping[str, PriceBar], changes: _Changes) -> bool:
        """The opening or adding fill; False where it came to less than the least notional."""
        intent, terms = order.intent, self._terms
        bar = bars[intent.coin]
        sign = 1.0 if intent.action is Action.LONG else -1.0
        margin, fee = open_size(
            self._equity_at(bars), self._cash, intent.position_size_percent, intent.leverage, terms.fee_rate
        )
        if margin <= 0:
            return False
        price = fill_price(_market_price(bar, sign > 0), sign > 0, terms.slippage_rate)
        quantity = margin * intent.leverage / price
        self._cash = self._cash - margin - fee
        self._fees += fee
        fill_id = f"{intent.client_id}:{sequence}"
        holding = self._holdings.get(intent.coin)
        if holding is None:
            holding = Holding(
                intent.coin, sign, quantity, price, margin, changes.time_ms, fill_id, fee, best=price, last=bar.open
            )
            self._holdings[intent.coin] = holding
        else:
            holding.add(quantity, price, margin, fee)
        holding.place_levels(intent)
        holding.place_liquidation(self._instrument(intent.coin))
        changes.post(f"fill:{fill_id}", intent.coin, ("cash", -margin - fee), ("margin", margin), ("fees", fee))
        changes.touched[intent.coin] = None
        fill = Fill(
            intent.client_id,
            sequence,
            intent.coin,
            changes.time_ms,
            holding.side,
            True,
            quantity,
            price,
            intent.leverage,
            margin,
            fee,
            Reason.SIGNAL,
        )  # fmt: skip
        changes.fills.append(fill)
        return True

    def _equity_at(self, bars: Mapping[str, PriceBar]) -> float:
        """Equity at this open, at the last price where a coin has none now, after the fees paid so far."""
        equity = self._cash
        for coin, holding in self._holdings.items():
            bar = bars.get(coin)
            equity += holding.value_at(NAN if bar is None else bar.open)
        return equity

    def _walk(self, holding: Holding, bar: PriceBar, changes: _Changes) -> None:
        """The inside of a bar and its close."""
        if holding.has_levels:
            kind, at = holding.exit_inside(bar)
            if kind != EXIT_NONE:
                self._exit(holding, kind, _quoted(bar, at, holding.sign < 0), changes)
                return
        holding.follow(bar)
        holding.last = bar.close

    def _exit(self, holding: Holding, kind: int, price: float, changes: _Changes) -> None:
        """An exit that the broker holds itself, with an order row of its own."""
        origin = holding.opened_by or f"{holding.coin}:{holding.opened_ms}"
        client_id = uuid5(EXIT_IDS, f"{origin}:{REASONS[kind]}").hex
        intent = Intent(holding.coin, Action.CLOSE, client_id)
        changes.orders.append(Order(intent, OrderStatus.FILLED, changes.time_ms, changes.time_ms, REASONS[kind]))
        self._known.add(client_id)
        if kind != EXIT_LIQUIDATION:
            price = fill_price(price, holding.sign < 0, self._terms.slippage_rate)
        self._leave(holding, client_id, kind, price, changes)

    def _leave(self, holding: Holding, client_id: str, kind: int, price: float, changes: _Changes) -> None:
        """The whole position, at `price` as filled."""
        part = holding.reduce(1.0, price, self._terms.fee_rate, kind, changes.time_ms)
        self._book(holding, client_id, part, changes)
        del self._holdings[holding.coin]

    def _book(self, holding: Holding, client_id: str, part: Reduction, changes: _Changes) -> None:
        self._cash += part.cash_back
        self._fees += part.fee
        self._realized += part.profit
        changes.post(
            f"fill:{client_id}:0",
            holding.coin,
            ("cash", part.cash_back),
            ("margin", -part.margin),
            ("fees", part.fee),
            ("realized", -part.profit),
        )
        changes.trades.append(part.trade)
        changes.touched[holding.coin] = None
        fill = Fill(
            client_id,
            0,
            holding.coin,
            changes.time_ms,
            holding.side,
            False,
            part.quantity,
            part.price,
            part.leverage,
            part.margin,
            part.fee,
            part.trade.reason,
            part.trade.pnl,
        )  # fmt: skip
        changes.fills.append(fill)

    def _recorded(self, changes: _Changes) -> Batch:
        if not changes:
            return Batch(settled_ms=self._settled_ms)
        # Prices move every position: a state read back at this `settled_ms` must have them all.
        coins = dict.fromkeys((*changes.touched, *self._holdings))
        positions = tuple((coin, self._frozen(coin)) for coin in coins)
        batch = Batch(
            self._settled_ms,
            tuple(changes.orders),
            tuple(changes.fills),
            tuple(changes.entries),
            tuple(changes.trades),
            positions,
        )
        try:
            self._journal.record(batch)
        except BaseException:
            self._failed = True
            raise
        self._recent += batch.fills
        return batch

    def _frozen(self, coin: str) -> Position | None:
        holding = self._holdings.get(coin)
        return None if holding is None else holding.frozen()


def _minute(time_ms: int) -> int:
    """A funding stamp that is late by up to a minute belongs to the full minute."""
    return time_ms // MINUTE_MS * MINUTE_MS


def _market_price(bar: PriceBar, is_buy: bool) -> float:
    """The open; on a quote the ask for a buy and the bid for a sell."""
    side = bar.ask if is_buy else bar.bid
    return bar.open if side is None else side


def _quoted(bar: PriceBar, price: float, is_buy: bool) -> float:
    """A trigger that a quote has reached becomes a market fill at that quote's bid or ask."""
    return _market_price(bar, is_buy) if price == bar.open else price


def _validate(intent: Intent) -> None:
    numbers = (
        ("position_size_percent", intent.position_size_percent),
        ("leverage", intent.leverage),
        ("stop_loss_percent", intent.stop_loss_percent),
        ("take_profit_percent", intent.take_profit_percent),
        ("trailing_stop_percent", intent.trailing_stop_percent),
    )
    for name, value in numbers:
        if not isfinite(value) or value < 0 or (name == "leverage" and value == 0):
            raise InvalidValue(f"an order of {intent.coin} has {name} {value}", field=name)
