"""Snapshots of accounts: the equity curve, and the equity at 00:00 UTC that the daily loss is measured from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, func, select

from database import AccountSnapshot, Database, to_money
from domain.times import DAY_MS, HOUR_MS
from domain.trading import Account


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One point of an equity curve. `margin_ratio` = margin_used / equity, None where there is no equity."""

    timestamp: int
    balance: float
    equity: float
    unrealized_pnl: float
    margin_used: float

    @property
    def margin_ratio(self) -> float | None:
        return self.margin_used / self.equity if self.equity > 0 else None


def snapshot_of(account: Account, time_ms: int) -> Snapshot:
    return Snapshot(time_ms, account.cash, account.total_value, account.unrealized_pnl, account.margin_used)


class SnapshotStore:
    """Rows of `account_snapshots`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Iterable[tuple[int, Snapshot]]) -> None:
        """(model id, snapshot) pairs; a second one of a model at the same time is left out."""
        with self._database.write() as session:
            for model_id, snap in rows:
                there = session.scalar(
                    select(AccountSnapshot.id).where(
                        AccountSnapshot.model_id == model_id, AccountSnapshot.timestamp_ms == snap.timestamp
                    )
                )
                if there is not None:
                    continue
                session.add(
                    AccountSnapshot(
                        model_id=model_id,
                        timestamp_ms=snap.timestamp,
                        balance=to_money(snap.balance),
                        equity=to_money(snap.equity),
                        unrealized_pnl=to_money(snap.unrealized_pnl),
                        margin_used=to_money(snap.margin_used),
                        margin_ratio=snap.margin_ratio,
                    )
                )

    def series(
        self, model_id: int, limit: int, start_ms: int | None = None, before_ms: int | None = None
    ) -> list[Snapshot]:
        """The newest `limit` of the span, oldest first."""
        query = select(AccountSnapshot).where(AccountSnapshot.model_id == model_id)
        if start_ms is not None:
            query = query.where(AccountSnapshot.timestamp_ms >= start_ms)
        if before_ms is not None:
            query = query.where(AccountSnapshot.timestamp_ms < before_ms)
        query = query.order_by(AccountSnapshot.timestamp_ms.desc()).limit(limit)
        with self._database.read() as session:
            return [_snapshot(row) for row in reversed(session.scalars(query).all())]

    def after(self, model_id: int, snapshot_id: int) -> list[tuple[int, int, float]]:
        """(id, time, equity) of those stored after `snapshot_id`, in order."""
        query = (
            select(AccountSnapshot.id, AccountSnapshot.timestamp_ms, AccountSnapshot.equity)
            .where(AccountSnapshot.model_id == model_id, AccountSnapshot.id > snapshot_id)
            .order_by(AccountSnapshot.id)
        )
        with self._database.read() as session:
            return [(row_id, time_ms, float(equity)) for row_id, time_ms, equity in session.execute(query)]

    def clear(self, model_id: int) -> None:
        with self._database.write() as session:
            session.execute(delete(AccountSnapshot).where(AccountSnapshot.model_id == model_id))

    def day(self, model_id: int, day_start_ms: int) -> tuple[float | None, float | None]:
        """Equity at the day's start (the newest snapshot up to it, else the first of the day) and the day's lowest."""
        mine = AccountSnapshot.model_id == model_id
        with self._database.read() as session:
            before = session.scalar(
                select(AccountSnapshot)
                .where(mine, AccountSnapshot.timestamp_ms <= day_start_ms)
                .order_by(AccountSnapshot.timestamp_ms.desc())
                .limit(1)
            )
            since = session.scalars(
                select(AccountSnapshot)
                .where(mine, AccountSnapshot.timestamp_ms >= day_start_ms)
                .order_by(AccountSnapshot.timestamp_ms)
            ).all()
        first = before or (since[0] if since else None)
        if first is None:
            return None, None
        return float(first.equity), min(float(row.equity) for row in (first, *since))

    def thin(self, before_ms: int) -> int:
        """Of the snapshots before `before_ms` keeps the last one of each hour; returns how many went."""
        hour = AccountSnapshot.timestamp_ms // HOUR_MS
        # Only the old ones: they are few, once thinned, and all the others need not be counted for it.
        old = select(func.max(AccountSnapshot.id)).where(AccountSnapshot.timestamp_ms < before_ms)
        kept = old.group_by(AccountSnapshot.model_id, hour)
        with self._database.write() as session:
            gone = session.execute(
                delete(AccountSnapshot).where(
                    AccountSnapshot.timestamp_ms < before_ms,
                    AccountSnapshot.timestamp_ms % DAY_MS != 0,
                    AccountSnapshot.id.not_in(kept),
                )
            )
            return int(gone.rowcount)  # type: ignore[attr-defined]


def _snapshot(row: AccountSnapshot) -> Snapshot:
    return Snapshot(
        row.timestamp_ms, float(row.balance), float(row.equity), float(row.unrealized_pnl), float(row.margin_used)
    )
