"""Clocks. The only module that reads the wall clock.

Everything else asks the clock that it was given: the market's (simulated or real), or a stepped one.
All of them are thread-safe and never go back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime

from domain.errors import InvalidValue
from domain.times import from_ms
from store.workspace import Workspace

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


def _checked(anchor: ClockAnchor) -> ClockAnchor:
    if anchor.speed <= 0:
        raise InvalidValue(f"a clock's speed is above 0, not {anchor.speed}", field="simulated_speed")
    return anchor


class MarketClock:
    """Time of the simulated market: `anchor.speed` market seconds each real second, while the server is
    down too, because it is a function of the real time."""

    def __init__(self, anchor: ClockAnchor, wall: SystemClock | None = None) -> None:
        self.anchor = _checked(anchor)
        self._wall = wall or SystemClock()
        self._lock = threading.Lock()
        self._last_ms = anchor.market_ms

    @property
    def speed(self) -> float:
        return self.anchor.speed

    def not_before(self, time_ms: int) -> None:
        """This clock has shown `time_ms` in an earlier life: it stands there until it has caught up."""
        with self._lock:
            self._last_ms = max(self._last_ms, time_ms)

    def change_speed(self, speed: float) -> bool:
        """Goes on from now at `speed`, without a leap; False where nothing had to change."""
        real, shown = self._wall.now_ms(), self.now_ms()
        if speed == self.anchor.speed and self.anchor.market_at(real) >= shown:
            return False
        self.anchor = _checked(ClockAnchor(real, shown, speed))
        return True

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
    """A clock that stands still until it is moved: for tests, as a backtest counts its own bars."""

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


# -- a workspace's clock ------------------------------------------------------------------


def open_market_clock(workspace: Workspace, speed: float, wall: SystemClock | None = None) -> MarketClock:
    """The clock of a simulated workspace, from its stored anchor.

    The first start ties market time to real time as it is then. Later ones, and every command beside
    the server, read the stored anchor whatever their own SIMULATED_SPEED says; the server's process
    alone changes it, with `adopt_speed`.
    """
    wall = wall or SystemClock()
    now = wall.now_ms()
    stored = workspace.clock_anchor(lambda: {"real_ms": now, "market_ms": now, "speed": speed})
    clock = MarketClock(ClockAnchor(int(stored["real_ms"]), int(stored["market_ms"]), float(stored["speed"])), wall)
    clock.not_before(workspace.latest_ms)
    return clock


def adopt_speed(clock: MarketClock, workspace: Workspace, speed: float) -> None:
    """Goes on at `speed` from the time that the clock shows, and writes that down.

    For the process that runs the scheduler, at its start. Also ties market time anew to a wall clock
    that was set back while the server was down.
    """
    if clock.change_speed(speed):
        workspace.move_clock_anchor(asdict(clock.anchor))


def keep_time(clock: MarketClock | SystemClock, workspace: Workspace) -> None:
    """Writes down how far the market has come; for the scheduler, every few minutes."""
    workspace.remember_time(clock.now_ms())
