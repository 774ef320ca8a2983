"""The in-process event bus."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from domain.events import Event
from domain.ports import Handler

log = structlog.get_logger(__name__)

EVERYTHING = "*"


class Bus:
    """Fan-out on the publisher's thread. A handler that raises is logged and does not concern the others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[str, tuple[Handler, ...]] = {}

    def publish(self, event: Event) -> None:
        # Tuples are replaced, never changed: publishing needs no lock.
        for handler in (*self._handlers.get(event.kind, ()), *self._handlers.get(EVERYTHING, ())):
            try:
                handler(event)
            except Exception:  # the outermost edge of a listener; the publisher must not suffer
                log.exception("an event handler failed", kind=event.kind)

    def subscribe(self, kind: str, handler: Handler) -> Callable[[], None]:
        with self._lock:
            self._handlers[kind] = (*self._handlers.get(kind, ()), handler)

        def unsubscribe() -> None:
            with self._lock:
                kept = list(self._handlers.get(kind, ()))
                if handler in kept:
                    kept.remove(handler)
                self._handlers[kind] = tuple(kept)

        return unsubscribe
