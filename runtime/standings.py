"""Drawdown and Sharpe ratio of each account, kept up to date from its snapshots as they come."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt

from domain.times import DAY_MS
from store.snapshots import SnapshotStore

DAYS_A_YEAR = 365
LEAST_DAYS = 7


@dataclass(slots=True)
class _Track:
    """What the snapshots up to `last_id` amount to."""

    last_id: int = 0
    high: float = 0.0
    drawdown_percent: float = 0.0
    day_equity: dict[int, float] = field(default_factory=dict)

    def add(self, row_id: int, time_ms: int, equity: float) -> None:
        self.last_id = max(self.last_id, row_id)
        self.day_equity[(time_ms - 1) // DAY_MS] = equity
        self.see(equity)

    def see(self, equity: float) -> None:
        self.high = max(self.high, equity)
        if self.high > 0:
            self.drawdown_percent = max(self.drawdown_percent, 100 * (self.high - equity) / self.high)


class Standings:
    """Reads each snapshot once. Thread-safe."""

    def __init__(self, snapshots: SnapshotStore) -> None:
        self._snapshots = snapshots
        self._tracks: dict[int, _Track] = {}
        self._lock = threading.Lock()

    def of(self, model_id: int, capital: float, equity: float) -> tuple[float, float | None]:
        """(max_drawdown in percent, Sharpe ratio or None where it cannot be known) with `equity` as of now."""
        with self._lock:
            track = self._tracks.setdefault(model_id, _Track(high=capital))
            for row_id, time_ms, seen in self._snapshots.after(model_id, track.last_id):
                track.add(row_id, time_ms, seen)
            track.see(equity)
            days = [track.day_equity[day] for day in sorted(track.day_equity)]
            return track.drawdown_percent, sharpe_ratio([capital, *days[:-1], equity])

    def forget(self, model_id: int) -> None:
        with self._lock:
            self._tracks.pop(model_id, None)


def sharpe_ratio(marks: Sequence[float]) -> float | None:
    """Of daily marks, annualised with 365 days, risk-free rate zero: mean(r) / std(r, ddof=1) x sqrt(365).

    None where nothing moved (the definition of simulation.metrics) and for fewer than LEAST_DAYS returns: a
    figure for a year from two days says nothing.
    """
    returns = [after / before - 1 for before, after in pairwise(marks) if before > 0]
    if len(returns) < LEAST_DAYS:
        return None
    mean = sum(returns) / len(returns)
    variance = sum((r - mean) ** 2 for r in returns) / (len(returns) - 1)
    return mean / sqrt(variance) * sqrt(DAYS_A_YEAR) if variance > 0 else None
