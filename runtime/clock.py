"""Clocks. The only module that reads the wall clock.

Everything else asks the clock that it was given: the market's (simulated or real), or a stepped one.
All of them are thread-safe and never go back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from domain.errors import InvalidValue
from domain.times import from_ms

_NS_PER_MS = 1_000_000


class SystemClock:
    """UTC of this machine. Where the wall clock is set back, time goes on from where it was."""

    speed = 1.0

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._last_ns = 0
        self._seen_ns = monotonic_ns()

    def now_ms(self) -> int:
        with self._lock:
            wall, monotonic = self._wall_ns(), self._monotonic_ns()
            # A set-back wall neither stops the market nor repeats an hour of it; one set forward is followed.
            elapsed = monotonic - self._seen_ns
            behind = self._last_ns and wall < self._last_ns
            self._last_ns = self._last_ns + elapsed if behind else wall
            self._seen_ns = monotonic
            return self._last_ns // _NS_PER_MS

    def now(self) -> datetime:
        return from_ms(self.now_ms())

    def real_delay_s(self, time_ms: int) -> float:
        """Real seconds until this clock shows `time_ms`; 0 where it already has."""
        return max(0.0, (time_ms - self.now_ms()) / 1000)


@dataclass(frozen=True, slots=True)
class ClockAnchor:
    """At `real_ms` the market's clock showed `market_ms`; since then it runs at `speed`."""

    real_ms: int
    market_ms: int
    speed: float

    def market_at(self, real_ms: int) -> int:
        return self.market_ms + int(max(0, real_ms - self.real_ms) * self.speed)

    def moved(self, real_ms: int, speed: float) -> ClockAnchor:
        """The anchor from which time goes on without a leap at another speed."""
        return ClockAnchor(real_ms, self.market_at(real_ms), speed)


class MarketClock:
    """Time of the simulated market: `anchor.speed` market seconds each real second, while the server is
    down too, because it is a function of the real time."""

    def __init__(self, anchor: ClockAnchor, wall: SystemClock | None = None) -> None:
        if anchor.speed <= 0:
            raise InvalidValue(f"a clock's speed is above 0, not {anchor.speed}", field="simulated_speed")
        self.anchor = anchor
        self._wall = wall or SystemClock()
        self._lock = threading.Lock()
        self._last_ms = anchor.market_ms

    @property
    def speed(self) -> float:
        return self.anchor.speed

    def now_ms(self) -> int:
        with self._lock:
            self._last_ms = max(self._last_ms, self.anchor.market_at(self._wall.now_ms()))
            return self._last_ms

    def now(self) -> datetime:
        return from_ms(self.now_ms())

    def real_delay_s(self, time_ms: int) -> float:
        """Real seconds until this clock shows `time_ms`; 0 where it already has."""
        return max(0.0, (time_ms - self.now_ms()) / 1000 / self.anchor.speed)


class SteppedClock:
    """A clock that stands still until it is moved: backtests and tests."""

    speed = 1.0

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        with self._lock:
            return self._now_ms

    def now(self) -> datetime:
        return from_ms(self.now_ms())

    def set(self, now_ms: int) -> None:
        """Moves on to `now_ms`; InvalidValue where that lies before now."""
        with self._lock:
            if now_ms < self._now_ms:
                raise InvalidValue(f"a clock never goes back: {now_ms} is before {self._now_ms}")
            self._now_ms = now_ms

    def advance(self, step_ms: int) -> int:
        """Moves on by `step_ms` and returns the new time."""
        with self._lock:
            if step_ms < 0:
                raise InvalidValue(f"a clock never goes back: step {step_ms}")
            self._now_ms += step_ms
            return self._now_ms

    def real_delay_s(self, time_ms: int) -> float:
        """As if a second were a second."""
        return max(0.0, (time_ms - self.now_ms()) / 1000)
