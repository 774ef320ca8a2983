"""The live tail of the candle store: closed bars in SQLite that are not yet in a series file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Table, and_, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from database import Database, MarketDataCache
from domain.market import Bars, IntArray, SeriesKey

_table: Table = MarketDataCache.__table__  # type: ignore[assignment]
_VALUES = [_table.c[name] for name in ("time_ms", "open", "high", "low", "close", "volume")]
# SQLite takes 999 variables in a statement in its older builds.
_CHUNK = 500


class LiveTail:
    """Rows of `market_data_cache`. Thread-safe; a stored row is never overwritten."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keys(self) -> list[SeriesKey]:
        columns = [_table.c[name] for name in ("venue", "market", "symbol", "interval")]
        with self._database.read() as session:
            return [SeriesKey(*row) for row in session.execute(select(*columns).distinct())]

    def count(self, key: SeriesKey) -> int:
        with self._database.read() as session:
            return session.execute(select(func.count()).select_from(_table).where(_of(key))).scalar_one()

    def load(self, key: SeriesKey, start_ms: int | None = None, end_ms: int | None = None) -> Bars:
        """Bars whose open lies in [start_ms, end_ms), oldest first."""
        query = select(*_VALUES).where(_of(key)).order_by(_table.c.time_ms)
        if start_ms is not None:
            query = query.where(_table.c.time_ms >= start_ms)
        if end_ms is not None:
            query = query.where(_table.c.time_ms < end_ms)
        with self._database.read() as session:
            rows = session.execute(query).all()
        if not rows:
            return Bars.empty()
        time, *prices = zip(*rows, strict=True)
        return Bars(np.array(time, dtype=np.int64), *(np.array(column, dtype=np.float64) for column in prices))

    def insert(self, series: Iterable[tuple[SeriesKey, Bars]]) -> None:
        """One transaction for all; bars whose time is there already are left alone."""
        rows = [row for key, bars in series for row in _rows(key, bars)]
        if not rows:
            return
        with self._database.write() as session:
            connection = session.connection()
            connection.execute(_insert_missing(connection), rows)

    def delete(self, key: SeriesKey, times: IntArray | None = None) -> None:
        """Removes the bars at `times`, or all of them."""
        with self._database.write() as session:
            if times is None:
                session.execute(delete(_table).where(_of(key)))
                return
            for first in range(0, len(times), _CHUNK):
                chunk = times[first : first + _CHUNK].tolist()
                session.execute(delete(_table).where(_of(key), _table.c.time_ms.in_(chunk)))


def _of(key: SeriesKey) -> ColumnElement[bool]:
    return and_(
        _table.c.venue == key.venue,
        _table.c.market == key.market,
        _table.c.symbol == key.symbol,
        _table.c.interval == key.interval,
    )


def _rows(key: SeriesKey, bars: Bars) -> Sequence[dict[str, Any]]:
    names = ("time_ms", "open", "high", "low", "close", "volume")
    series = {"venue": key.venue, "market": key.market, "symbol": key.symbol, "interval": key.interval}
    columns = (column.tolist() for column in bars.columns())
    return [{**series, **dict(zip(names, values, strict=True))} for values in zip(*columns, strict=True)]


def _insert_missing(connection: Connection) -> Any:
    if connection.dialect.name == "sqlite":
        return sqlite.insert(_table).on_conflict_do_nothing()
    if connection.dialect.name == "postgresql":
        return postgresql.insert(_table).on_conflict_do_nothing()
    return insert(_table).prefix_with("IGNORE")  # MySQL and MariaDB
