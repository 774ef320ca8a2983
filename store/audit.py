"""The books checked against themselves: what is stored as a position or a balance must follow from the facts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from database import Database, Model
from database import Fill as FillRow
from database import LedgerEntry as EntryRow
from database import Order as OrderRow
from database import Position as PositionRow
from database import Trade as TradeRow
from domain.errors import NotFound
from domain.trading import OrderStatus
from store.ledger import ZERO

# Rows are rounded to 1e-12 each and the broker adds floats: a difference below this fraction is none.
TOLERANCE = Decimal("1e-9")


@dataclass(slots=True)
class _Derived:
    """A position as its fills say."""

    side: str = ""
    quantity: Decimal = ZERO
    cost: Decimal = ZERO


@dataclass(slots=True)
class _Books:
    fills: Sequence[FillRow]
    orders: dict[int, OrderRow]
    trades: dict[int, list[TradeRow]]
    entries: Sequence[EntryRow]
    positions: dict[str, PositionRow]
    capital: Decimal
    differences: list[str] = field(default_factory=list)

    def differ(self, what: str, stored: object, derived: object) -> None:
        self.differences.append(f"{what}: stored {stored}, derived {derived}")

    def compare(self, what: str, stored: Decimal, derived: Decimal) -> None:
        scale = max(Decimal(1), abs(stored), abs(derived))
        if abs(stored - derived) > TOLERANCE * scale:
            self.differ(what, stored, derived)


def recompute(database: Database, model_id: int, stale_before_ms: int | None = None) -> list[str]:
    """Derives cash and positions from fills and ledger, and names every difference; empty: the books are right.

    `stale_before_ms`: orders planned before that and never sent are differences too. One consistent
    read; NotFound where there is no such model.
    """
    with database.read() as session:
        books = _read(session, model_id)
    _check_ledger(books)
    _check_fills(books)
    _check_orders(books, stale_before_ms)
    _check_positions(books)
    return books.differences


def _read(session: Session, model_id: int) -> _Books:
    model = session.get(Model, model_id)
    if model is None:
        raise NotFound(f"there is no model {model_id}")
    trades: dict[int, list[TradeRow]] = defaultdict(list)
    for trade in session.scalars(select(TradeRow).where(TradeRow.model_id == model_id)):
        trades[trade.fill_id].append(trade)
    orders = session.scalars(select(OrderRow).where(OrderRow.model_id == model_id))
    positions = session.scalars(select(PositionRow).where(PositionRow.model_id == model_id))
    return _Books(
        fills=session.scalars(select(FillRow).where(FillRow.model_id == model_id).order_by(FillRow.id)).all(),
        orders={order.id: order for order in orders},
        trades=trades,
        entries=session.scalars(select(EntryRow).where(EntryRow.model_id == model_id).order_by(EntryRow.id)).all(),
        positions={row.coin: row for row in positions},
        capital=model.initial_capital,
    )


def _check_ledger(books: _Books) -> None:
    """Every posting sums to zero, to the last digit; one deposit of the capital."""
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for entry in books.entries:
        sums[entry.ref] += entry.amount
    for ref, total in sums.items():
        if total:
            books.differ(f"legs of {ref}", total, 0)
    capital = -sum((entry.amount for entry in books.entries if entry.account == "capital"), ZERO)
    if capital != books.capital:
        books.differ("deposited capital", capital, books.capital)


def _check_fills(books: _Books) -> None:
    """Each fill has its posting and each posting of a fill its fill; amounts agree; reductions have one trade."""
    legs: dict[str, dict[str, Decimal]] = defaultdict(dict)
    for entry in books.entries:
        if entry.ref.startswith("fill:"):
            legs[entry.ref][entry.account] = entry.amount
    for fill in books.fills:
        order = books.orders[fill.order_id]
        ref = f"fill:{order.client_id}:{fill.sequence}"
        posted = legs.pop(ref, None)
        if posted is None:
            books.differ(f"posting of {ref}", "none", "one")
            continue
        sign = 1 if fill.opens else -1
        books.compare(f"margin of {ref}", posted.get("margin", ZERO), sign * fill.margin)
        books.compare(f"fee of {ref}", posted.get("fees", ZERO), fill.fee)
        wanted = 0 if fill.opens else 1
        if len(books.trades.get(fill.id, ())) != wanted:
            books.differ(f"trades of {ref}", len(books.trades.get(fill.id, ())), wanted)
    for ref in legs:
        books.differ(f"fill behind {ref}", "none", "one")


def _check_orders(books: _Books, stale_before_ms: int | None) -> None:
    """Filled orders have fills and no others have any; none is left unexplained."""
    filled = {fill.order_id for fill in books.fills}
    for order in books.orders.values():
        if (order.id in filled) != (order.status == OrderStatus.FILLED):
            books.differ(f"order {order.client_id}", order.status, "filled" if order.id in filled else "no fill")
        is_planned = order.status == OrderStatus.PLANNED
        if is_planned and stale_before_ms is not None and order.created_ms < stale_before_ms:
            books.differ(f"order {order.client_id} of {order.created_ms}", "planned", "sent or explained")


def _check_positions(books: _Books) -> None:
    """Quantity, side and entry price follow from the fills, margins from the ledger."""
    derived: dict[str, _Derived] = {}
    for fill in books.fills:
        if fill.opens:
            held = derived.setdefault(fill.coin, _Derived(fill.side))
            if held.side != fill.side:
                books.differ(f"fill {fill.id} of {fill.coin}", fill.side, held.side)
            held.quantity += fill.quantity
            held.cost += fill.quantity * fill.price
            continue
        closed = derived.pop(fill.coin, None)
        if closed is None:
            books.differ(f"fill {fill.id} of {fill.coin}", "a reduction", "nothing to reduce")
        else:
            # Every reduction of this broker is of the whole position.
            books.compare(f"quantity closed by fill {fill.id} of {fill.coin}", fill.quantity, closed.quantity)
    margins: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for entry in books.entries:
        if entry.account == "margin" and entry.coin is not None:
            margins[entry.coin] += entry.amount
    for coin in sorted({*derived, *books.positions, *margins}):
        _check_position(books, coin, derived.get(coin), margins[coin])


def _check_position(books: _Books, coin: str, held: _Derived | None, margin: Decimal) -> None:
    row = books.positions.get(coin)
    if row is None or held is None:
        if (row is None) != (held is None):
            books.differ(f"position in {coin}", "one" if row else "none", "one" if held else "none")
        books.compare(f"margin left in {coin}", ZERO if row is None else row.margin, margin)
        return
    if row.side != held.side:
        books.differ(f"side of {coin}", row.side, held.side)
    books.compare(f"quantity of {coin}", row.quantity, held.quantity)
    books.compare(f"entry price of {coin}", row.avg_price, held.cost / held.quantity)
    books.compare(f"margin of {coin}", row.margin, margin)
