"""The hot tier: values of the last moments in this process, and one computation for many who ask at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

Value = TypeVar("Value")

SWEPT = 4


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """Since the start of the process."""

    hits: int
    misses: int


class HotCache:
    """Values by key (`price:...`, `kline:...`, `orderbook:...`) until a time that the caller names.

    Times are int milliseconds of the caller's clock. The least recently used go first beyond `size`.
    Switched off (`enabled` false) it keeps nothing and computes each time. Thread-safe.
    """

    def __init__(self, *, enabled: bool = True, size: int = 4096) -> None:
        self._enabled = enabled
        self._size = size
        self._kept: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        self._flights: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()
        self._hits = 0
        self._misses = 0

    def get(self, key: str, now_ms: int) -> Any:
        """The value, or None where there is none that is fresh at `now_ms`."""
        with self._lock:
            found = self._kept.get(key)
            if found is None or now_ms >= found[0]:
                self._kept.pop(key, None)
                self._misses += 1
                return None
            self._hits += 1
            self._kept.move_to_end(key)
            return found[1]

    def put(self, key: str, value: Any, until_ms: int, now_ms: int) -> None:
        if not self._enabled:
            return
        with self._lock:
            self._kept[key] = (until_ms, value)
            self._kept.move_to_end(key)
            # What nobody asked for again goes when it is out of date: the oldest, a few with each that comes.
            for old in [name for name, (until, _) in islice(self._kept.items(), SWEPT) if until <= now_ms]:
                del self._kept[old]
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def once(self, key: str, make: Callable[[], Value]) -> Value:
        """`make()`; callers that ask for the same key meanwhile wait for that one and share its value or error."""
        with self._lock:
            flight = self._flights.get(key)
            mine = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not mine:
            value: Value = flight.result()
            return value
        try:
            made = make()
        except BaseException as error:
            self._land(key)
            flight.set_exception(error)
            raise
        self._land(key)
        flight.set_result(made)
        return made

    def _land(self, key: str) -> None:
        with self._lock:
            self._flights.pop(key, None)

    def counts(self) -> CacheCounts:
        with self._lock:
            return CacheCounts(self._hits, self._misses)
