"""The event table: what happened in the market, to positions, to sources and to the server itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select

from database import Database, MarketEvent, Model


@dataclass(frozen=True, slots=True)
class StoredEvent:
    id: int
    timestamp: int
    event_type: str
    symbol: str | None
    model_id: int | None
    data: Mapping[str, Any]


class EventStore:
    """Rows of `market_events`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, time_ms: int, event_type: str, symbol: str | None, model_id: int | None, data: Mapping[str, Any]
    ) -> None:
        """Stores one event; the model may have been deleted meanwhile, then it is an event of nobody."""
        with self._database.write() as session:
            if model_id is not None and session.get(Model, model_id) is None:
                model_id = None
            values = {"timestamp_ms": time_ms, "event_type": event_type, "symbol": symbol, "model_id": model_id}
            session.execute(insert(MarketEvent).values(**values, data=dict(data)))

    def load(
        self, limit: int, event_type: str | None = None, since_ms: int | None = None, symbol: str | None = None
    ) -> list[StoredEvent]:
        """Newest first."""
        query = select(MarketEvent)
        if event_type is not None:
            query = query.where(MarketEvent.event_type == event_type)
        if since_ms is not None:
            query = query.where(MarketEvent.timestamp_ms >= since_ms)
        if symbol is not None:
            query = query.where(MarketEvent.symbol == symbol)
        query = query.order_by(MarketEvent.timestamp_ms.desc(), MarketEvent.id.desc()).limit(limit)
        with self._database.read() as session:
            return [
                StoredEvent(row.id, row.timestamp_ms, row.event_type, row.symbol, row.model_id, row.data)
                for row in session.scalars(query)
            ]

    def prune(self, before_ms: int) -> int:
        """Removes events older than `before_ms`; returns how many."""
        with self._database.write() as session:
            gone = session.execute(delete(MarketEvent).where(MarketEvent.timestamp_ms < before_ms))
            return int(gone.rowcount)  # type: ignore[attr-defined]
