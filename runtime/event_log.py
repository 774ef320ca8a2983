"""Listens on the bus and writes market events into their table."""

from __future__ import annotations

from domain.events import MARKET_EVENT, MARKET_EVENT_TYPES, Event
from domain.ports import Clock, EventBus
from store.events import EventStore

# Columns of their own; the rest of an event's data is stored as it is.
_COLUMNS = ("event_type", "symbol", "model_id")


class EventLog:
    """Every MARKET_EVENT becomes a row, on the publisher's thread: publish outside of write transactions."""

    def __init__(self, store: EventStore, bus: EventBus) -> None:
        self._store = store
        bus.subscribe(MARKET_EVENT, self._write)

    def _write(self, event: Event) -> None:
        data = event.data
        rest = {name: value for name, value in data.items() if name not in _COLUMNS}
        kind = data.get("event_type", "system")
        kind = kind if kind in MARKET_EVENT_TYPES else "system"
        self._store.add(event.time_ms, kind, data.get("symbol"), data.get("model_id"), rest)


def publish_system(bus: EventBus, clock: Clock, message: str, **data: object) -> None:
    """Something that the owner of this server should know."""
    bus.publish(Event(MARKET_EVENT, clock.now_ms(), {"event_type": "system", "message": message, **data}))
