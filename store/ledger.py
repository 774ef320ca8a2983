"""The books of the accounts: what happened is written here, and an account is read back from here.

Orders, fills and ledger entries are facts; positions and cash follow from them and are kept for
quick reading. `recompute` derives them again and names every difference. Unique constraints on
orders (client id), fills (order, sequence) and ledger legs (model, ref, account) make it impossible
to store the same cause twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import AiDecision, Database, Model, to_money
from database import Fill as FillRow
from database import LedgerEntry as EntryRow
from database import Order as OrderRow
from database import Position as PositionRow
from database import Trade as TradeRow
from domain.errors import Conflict, NotFound
from domain.ports import Batch, Cycle
from domain.trading import (
    Account,
    ClosedTrade,
    Decision,
    Fill,
    Intent,
    LedgerEntry,
    Order,
    OrderStatus,
    Position,
    Verdict,
)
from store.ledger_rows import (
    decision_row,
    entry_values,
    fill_values,
    order_of,
    order_values,
    position_of,
    position_values,
    trade_values,
)
from store.snapshots import SnapshotStore, snapshot_of

OPEN_STATUSES = (OrderStatus.PLANNED.value, OrderStatus.SUBMITTED.value)
ZERO = Decimal(0)
# Legs are floats of up to some 1e9 dollars: their rounding leaves less than this.
MOST_RESIDUE = Decimal("1e-5")


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account as the books have it. Money in float dollars; positions bit for bit as the broker had them.

    `waiting`: orders that the broker had taken and not yet filled, oldest first. `planned`: orders
    written down and never sent. Ledger sums: `fees` paid, `realized` price profit, `funding` received.
    """

    initial_capital: float
    cash: float
    fees: float
    realized: float
    funding: float
    positions: tuple[Position, ...]
    waiting: tuple[Order, ...]
    planned: tuple[Order, ...]
    settled_ms: int
    decided: dict[str, int]


class ModelJournal:
    """Journal and Recorder of one account. One write transaction for each batch, all of it or nothing."""

    def __init__(self, database: Database, model_id: int) -> None:
        self._database = database
        self._model_id = model_id
        self._snapshots = SnapshotStore(database)

    # -- Journal ----------------------------------------------------------------------

    def record(self, batch: Batch) -> None:
        """Conflict where a fill or a ledger leg is there already: nothing of the batch is stored then."""
        try:
            with self._database.write() as session:
                self._store(session, batch)
        except IntegrityError as error:
            raise Conflict(f"account {self._model_id}: stored already, or of no order: {error.orig}") from error

    def _store(self, session: Session, batch: Batch) -> None:
        connection = session.connection()
        order_ids = self._store_orders(connection, batch.orders, {fill.client_id for fill in batch.fills})
        fill_ids = self._store_fills(connection, batch.fills, order_ids)
        self._store_entries(connection, batch.entries)
        self._store_trades(connection, batch.trades, batch.fills, fill_ids)
        self._store_positions(connection, batch.positions)
        connection.execute(
            update(Model)
            .where(Model.id == self._model_id, Model.settled_ms < batch.settled_ms)
            .values(settled_ms=batch.settled_ms)
        )

    def _store_orders(self, connection: Connection, orders: Sequence[Order], also: set[str]) -> dict[str, int]:
        """Ids of all orders named, by client id."""
        wanted = {order.intent.client_id for order in orders} | also
        if not wanted:
            return {}
        found = select(OrderRow.client_id, OrderRow.id).where(
            OrderRow.client_id.in_(wanted), OrderRow.model_id == self._model_id
        )
        ids: dict[str, int] = dict(connection.execute(found).all())
        for order in orders:
            client_id = order.intent.client_id
            if client_id in ids:
                connection.execute(
                    update(OrderRow)
                    .where(OrderRow.id == ids[client_id])
                    .values(status=order.status.value, reason=order.reason, updated_ms=order.updated_ms)
                )
            else:
                statement = insert(OrderRow).values(order_values(self._model_id, order)).returning(OrderRow.id)
                ids[client_id] = connection.execute(statement).scalar_one()
        return ids

    def _store_fills(
        self, connection: Connection, fills: Sequence[Fill], order_ids: dict[str, int]
    ) -> dict[tuple[str, int], int]:
        ids: dict[tuple[str, int], int] = {}
        for fill in fills:
            order_id = order_ids.get(fill.client_id)
            if order_id is None:
                raise Conflict(f"account {self._model_id}: a fill of an unknown order {fill.client_id}")
            values = fill_values(self._model_id, order_id, fill)
            ids[fill.client_id, fill.sequence] = connection.execute(
                insert(FillRow).values(values).returning(FillRow.id)
            ).scalar_one()
        if fills:
            decisions = select(OrderRow.decision_id).where(OrderRow.id.in_({order_ids[f.client_id] for f in fills}))
            connection.execute(update(AiDecision).where(AiDecision.id.in_(decisions)).values(executed=True))
        return ids

    def _store_entries(self, connection: Connection, entries: Iterable[LedgerEntry]) -> None:
        rows = [entry_values(self._model_id, entry, amount) for entry, amount in balanced(entries)]
        if rows:
            connection.execute(insert(EntryRow), rows)

    def _store_trades(
        self,
        connection: Connection,
        trades: Sequence[ClosedTrade],
        fills: Sequence[Fill],
        fill_ids: dict[tuple[str, int], int],
    ) -> None:
        """A trade belongs to the reducing fill of its coin, in order: each reduction makes one trade."""
        reducing: dict[str, list[int]] = defaultdict(list)
        for fill in fills:
            if not fill.opens:
                reducing[fill.coin].append(fill_ids[fill.client_id, fill.sequence])
        rows = [trade_values(self._model_id, reducing[trade.coin].pop(0), trade) for trade in trades]
        if rows:
            connection.execute(insert(TradeRow), rows)

    def _store_positions(self, connection: Connection, positions: Iterable[tuple[str, Position | None]]) -> None:
        mine = PositionRow.model_id == self._model_id
        for coin, position in positions:
            if position is None:
                connection.execute(delete(PositionRow).where(mine, PositionRow.coin == coin))
                continue
            values = position_values(position)
            changed = connection.execute(update(PositionRow).where(mine, PositionRow.coin == coin).values(values))
            if not changed.rowcount:
                connection.execute(insert(PositionRow).values(model_id=self._model_id, **values))

    # -- Recorder ---------------------------------------------------------------------

    def decided(
        self, rows: Sequence[tuple[Decision, Sequence[Verdict], Intent | None]], cycle: Cycle
    ) -> list[Intent | None]:
        """Decisions, verdicts, planned orders, and what was decided on and settled before: one transaction."""
        now_ms = cycle.now_ms
        planned: list[Intent | None] = []
        with self._database.write() as session:
            decisions = [decision_row(self._model_id, now_ms, *row[:2]) for row in rows]
            session.add_all(decisions)
            session.flush()
            for decision, (_, _, intent) in zip(decisions, rows, strict=True):
                planned.append(None if intent is None else replace(intent, decision_id=decision.id))
            orders = [Order(intent, OrderStatus.PLANNED, now_ms, now_ms) for intent in planned if intent is not None]
            if orders:
                session.execute(insert(OrderRow), [order_values(self._model_id, order) for order in orders])
            # Where settled_ms moves, the positions that follow the prices (a trailing stop's best) move along.
            self._store_positions(session.connection(), cycle.positions.items())
            model = session.get_one(Model, self._model_id)
            model.settled_ms = max(model.settled_ms, cycle.settled_ms)
            newer = {coin: time for coin, time in cycle.decided.items() if time > model.decided.get(coin, 0)}
            model.decided = {**model.decided, **newer}
        return planned

    def loss_touched(self, account: Account, time_ms: int) -> None:
        """A snapshot of that moment: the day's lowest equity is read back from the snapshots."""
        self._snapshots.add([(self._model_id, snapshot_of(account, time_ms))])


class LedgerStore:
    """The books of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def journal(self, model_id: int) -> ModelJournal:
        return ModelJournal(self._database, model_id)

    @staticmethod
    def deposit(session: Session, model_id: int, amount: Decimal, now_ms: int) -> None:
        """The first posting of an account, in the transaction that makes the account."""
        session.execute(
            insert(EntryRow),
            [
                {"model_id": model_id, "ref": "deposit", "timestamp_ms": now_ms, "account": account, "coin": None,
                 "amount": value}
                for account, value in (("cash", amount), ("capital", -amount))
            ],
        )  # fmt: skip

    def load_state(self, model_id: int) -> StoredAccount:
        """The account as it was last written down; NotFound where there is no such model."""
        with self._database.read() as session:
            model = session.get(Model, model_id)
            if model is None:
                raise NotFound(f"there is no model {model_id}")
            sums = ledger_sums(session, model_id)
            positions = session.scalars(
                select(PositionRow).where(PositionRow.model_id == model_id).order_by(PositionRow.id)
            )
            open_orders = session.scalars(
                select(OrderRow)
                .where(OrderRow.model_id == model_id, OrderRow.status.in_(OPEN_STATUSES))
                .order_by(OrderRow.id)
            )
            orders = [order_of(row) for row in open_orders]
            return StoredAccount(
                initial_capital=float(model.initial_capital),
                cash=_cash(sums["cash"]),
                fees=float(sums["fees"]),
                realized=0.0 - float(sums["realized"]),
                funding=0.0 - float(sums["funding"]),
                positions=tuple(position_of(row.state) for row in positions),
                waiting=tuple(order for order in orders if order.status is OrderStatus.SUBMITTED),
                planned=tuple(order for order in orders if order.status is OrderStatus.PLANNED),
                settled_ms=model.settled_ms,
                decided=dict(model.decided),
            )

    def set_order(self, client_id: str, status: OrderStatus, reason: str, now_ms: int) -> None:
        """For orders that never reach their broker."""
        with self._database.write() as session:
            session.execute(
                update(OrderRow)
                .where(OrderRow.client_id == client_id)
                .values(status=status.value, reason=reason, updated_ms=now_ms)
            )


def ledger_sums(session: Session, model_id: int) -> dict[str, Decimal]:
    """Balance of each ledger account, exact; summed here because SQLite would sum floats."""
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    rows = session.execute(select(EntryRow.account, EntryRow.amount).where(EntryRow.model_id == model_id))
    for account, amount in rows:
        sums[account] += amount
    return sums


def _cash(balance: Decimal) -> float:
    """What is free. All-in, the rounding of the legs may leave a little less than nothing."""
    return 0.0 if -MOST_RESIDUE < balance < 0 else float(balance)


def balanced(entries: Iterable[LedgerEntry]) -> list[tuple[LedgerEntry, Decimal]]:
    """Each entry with its exact amount; the legs of a ref sum to zero to the last digit.

    Rounding each leg to 1e-12 can leave a residue of that size: the last leg that is neither cash nor
    margin takes it, because those two are what positions and balances are compared with.
    """
    exact = [(entry, to_money(entry.amount)) for entry in entries]
    residues: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for entry, amount in exact:
        residues[entry.ref] += amount
    for i in reversed(range(len(exact))):
        entry, amount = exact[i]
        residue = residues[entry.ref]
        if residue and entry.account not in ("cash", "margin"):
            if abs(residue) > MOST_RESIDUE:
                raise Conflict(f"the legs of {entry.ref} do not sum to zero but to {residue}")
            exact[i] = entry, amount - residue
            residues[entry.ref] = ZERO
    return exact
