"""Backtest runs in the database, their equity curves in files beside it."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import defer

from database import Backtest, BacktestTrade, Database
from domain.errors import NotFound
from domain.market import FloatArray, IntArray
from domain.trading import ClosedTrade

# Rows of one write transaction: other writers get their turn in between.
CHUNK_ROWS = 2_000
# The names of a trade's figures in reports and files, and the columns that are called otherwise.
TRADE_FIELDS = (
    "coin", "side", "entry_time", "entry_price", "exit_time", "exit_price", "quantity", "leverage", "fee",
    "funding", "pnl", "pnl_percent", "exit_reason",
)  # fmt: skip
_COLUMNS = {"entry_time": "entry_time_ms", "exit_time": "exit_time_ms"}

_HEADS = select(Backtest, Backtest.report["settings"], Backtest.report["summary"]).options(
    defer(Backtest.report, raiseload=True)
)
ENDED = ("done", "failed", "cancelled", "interrupted")


class BacktestStore:
    """Rows of `backtests` and `backtest_trades`, and `ROOT/ID/equity.arrow`. Thread-safe."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root

    def create(self, name: str, request: dict[str, Any], now_ms: int) -> int:
        with self._database.write() as session:
            row = Backtest(name=name, status="queued", request=request, created_ms=now_ms)
            session.add(row)
            session.flush()
            return row.id

    def load(self, run_id: int) -> Backtest:
        with self._database.read() as session:
            row = session.get(Backtest, run_id)
        if row is None:
            raise NotFound(f"there is no backtest {run_id}")
        return row

    def load_recent(self, limit: int) -> list[tuple[Backtest, dict[str, Any] | None, dict[str, Any] | None]]:
        """(row, settings, summary), newest first. The rows come without their reports: those are a megabyte each."""
        with self._database.read() as session:
            found = session.execute(_HEADS.order_by(Backtest.id.desc()).limit(limit))
            return [(row, settings, summary) for row, settings, summary in found]

    def load_head(self, run_id: int) -> tuple[Backtest, dict[str, Any] | None, dict[str, Any] | None]:
        """One such (row, settings, summary)."""
        with self._database.read() as session:
            found = session.execute(_HEADS.where(Backtest.id == run_id)).one_or_none()
        if found is None:
            raise NotFound(f"there is no backtest {run_id}")
        row, settings, summary = found
        return row, settings, summary

    def load_trades(self, run_id: int, limit: int) -> list[dict[str, Any]]:
        """The first `limit` rows of the trade list, in its order, with the contract's names."""
        return [_trade(row) for row in self._trade_rows(run_id, 0, limit)]

    def iter_trades(self, run_id: int) -> Iterator[dict[str, Any]]:
        """The whole trade list, read in chunks."""
        after = 0
        while rows := self._trade_rows(run_id, after, CHUNK_ROWS):
            yield from (_trade(row) for row in rows)
            after = rows[-1].sequence + 1

    def update(self, run_id: int, *, only_if: Sequence[str] = (), **values: Any) -> bool:
        """Changes columns where the run exists (and has one of the statuses `only_if`); False where not."""
        statement = update(Backtest).where(Backtest.id == run_id).values(**values)
        if only_if:
            statement = statement.where(Backtest.status.in_(only_if))
        with self._database.write() as session:
            return bool(session.connection().execute(statement).rowcount)

    def save_trades(self, run_id: int, trades: Sequence[ClosedTrade]) -> None:
        for first in range(0, len(trades), CHUNK_ROWS):
            rows = [_row(run_id, first + i, t) for i, t in enumerate(trades[first : first + CHUNK_ROWS])]
            with self._database.write() as session:
                session.execute(insert(BacktestTrade), rows)

    def discard_trades(self, run_id: int) -> None:
        """Of a run that did not end well: no half of a list is kept."""
        with self._database.write() as session:
            session.execute(delete(BacktestTrade).where(BacktestTrade.backtest_id == run_id))

    def save_equity(self, run_id: int, times: IntArray, values: FloatArray, cash: FloatArray) -> None:
        """Atomic: a reader finds the whole curve or none."""
        import pyarrow as pa
        import pyarrow.feather as feather

        folder = self._root / str(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        table = pa.table({"timestamp": times, "value": values, "cash": cash})
        part = folder / "equity.arrow.part"
        feather.write_feather(table, str(part), compression="lz4")
        part.replace(folder / "equity.arrow")

    def load_equity(self, run_id: int) -> tuple[IntArray, FloatArray, FloatArray]:
        """(times ms, values, cash), each shape (bars,); NotFound where the run has no curve."""
        import pyarrow.feather as feather

        path = self._root / str(run_id) / "equity.arrow"
        if not path.is_file():
            raise NotFound(f"backtest {run_id} has no equity curve")
        table = feather.read_table(str(path))
        times, values, cash = (table.column(name).to_numpy() for name in ("timestamp", "value", "cash"))
        return np.asarray(times), np.asarray(values), np.asarray(cash)

    def remove(self, run_id: int) -> None:
        with self._database.write() as session:
            session.execute(delete(BacktestTrade).where(BacktestTrade.backtest_id == run_id))
            session.execute(delete(Backtest).where(Backtest.id == run_id))
        shutil.rmtree(self._root / str(run_id), ignore_errors=True)

    def interrupt_unfinished(self, now_ms: int, but: Collection[int] = ()) -> list[int]:
        """Marks what a process that is gone left queued or running, all but `but`; returns the ids."""
        with self._database.write() as session:
            found = session.scalars(select(Backtest.id).where(Backtest.status.not_in(ENDED)))
            ids = [run_id for run_id in found if run_id not in but]
            if ids:
                session.execute(delete(BacktestTrade).where(BacktestTrade.backtest_id.in_(ids)))
                session.execute(
                    update(Backtest)
                    .where(Backtest.id.in_(ids))
                    .values(status="interrupted", finished_ms=now_ms, error="The server stopped during this run.")
                )
        return ids

    def _trade_rows(self, run_id: int, first: int, limit: int) -> list[BacktestTrade]:
        with self._database.read() as session:
            return list(
                session.scalars(
                    select(BacktestTrade)
                    .where(BacktestTrade.backtest_id == run_id, BacktestTrade.sequence >= first)
                    .order_by(BacktestTrade.sequence)
                    .limit(limit)
                )
            )


def trade_row(trade: ClosedTrade) -> dict[str, Any]:
    """One row of a report's `trades`, with the contract's names."""
    return {
        "coin": trade.coin,
        "side": trade.side.value,
        "entry_time": trade.entry_time_ms,
        "entry_price": trade.entry_price,
        "exit_time": trade.exit_time_ms,
        "exit_price": trade.exit_price,
        "quantity": trade.quantity,
        "leverage": trade.leverage,
        "fee": trade.fee,
        "funding": trade.funding,
        "pnl": trade.pnl,
        "pnl_percent": trade.pnl_percent,
        "exit_reason": trade.reason.value,
    }


def _row(run_id: int, sequence: int, trade: ClosedTrade) -> dict[str, Any]:
    columns = {_COLUMNS.get(name, name): value for name, value in trade_row(trade).items()}
    return {"backtest_id": run_id, "sequence": sequence, **columns}


def _trade(row: BacktestTrade) -> dict[str, Any]:
    return {name: getattr(row, _COLUMNS.get(name, name)) for name in TRADE_FIELDS}
