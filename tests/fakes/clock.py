"""A clock that stands still until it is told to move."""

from __future__ import annotations

from datetime import datetime

from domain.times import from_ms


class FakeClock:
    """Starts on 2024-01-01T00:00:00Z."""

    def __init__(self, time_ms: int = 1_704_067_200_000) -> None:
        self.time_ms = time_ms

    def now(self) -> datetime:
        return from_ms(self.time_ms)

    def now_ms(self) -> int:
        return self.time_ms

    def advance(self, seconds: float) -> None:
        self.time_ms += round(seconds * 1000)
