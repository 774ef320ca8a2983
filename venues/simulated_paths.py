"""Log-price factors of the simulated market: a daily skeleton with minutes bridged into each day.

A factor (the market, a sector, a coin's own part) has one level for each midnight: a mean-reverting walk
whose volatility moves in regimes, with rare jumps. Inside a day its minutes are a Brownian bridge between
the two midnights, so that a day can be had without the days before it, and all agree.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

import numpy as np

from domain.market import FloatArray, IntArray
from venues.simulated_noise import derive_key, fat_table, hash_many, normal_table, part, uniform_table

DAY_MINUTES = 1440
DAY_HOURS = 24

_SKELETON_DAYS = 4096  # first reach of a skeleton; it doubles when asked for more
_REGIME_PERSISTENCE = 0.97
_REGIME_SHOCK = 0.13
_REGIME_VARIANCE = _REGIME_SHOCK**2 / (1 - _REGIME_PERSISTENCE**2)
_REGIME_LIMITS = (0.35, 3.0)
_SHARED_REGIME = 0.6  # how much of a factor's regime is the market's

# Quiet around 04 UTC, busiest while Europe and America are both awake; mean square 1.
_hours = np.arange(DAY_HOURS)
_SEASON = 1.0 + 0.3 * np.sin(2 * np.pi * (_hours - 9) / DAY_HOURS)
_SEASON /= np.sqrt(np.mean(_SEASON**2))
_HOUR_SPREAD = 0.3  # deviation of the log volatility of an hour


@dataclass(frozen=True, slots=True)
class FactorShape:
    """`sigma`: log deviation of a day; `pull`: daily share of the way back to the trend;
    `trend`: log growth that is gained in the long run, over `trend_days`; jumps: a year, in sigmas."""

    sigma: float
    pull: float = 0.003
    trend: float = 0.0
    trend_days: float = 900.0
    jumps_a_year: float = 8.0
    jump_sigmas: float = 2.0


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Per day: log level at its midnight (one more than days), deviation, jump and the jump's minute."""

    level: FloatArray
    sigma: FloatArray
    jump: FloatArray
    jump_minute: IntArray


@dataclass(frozen=True, slots=True)
class PathBlock:
    """Minutes of k days. `path` (k, 1441): log level at each minute's start and at the next midnight;
    `deviation` (k, 24): log deviation of a minute in each hour."""

    path: FloatArray
    deviation: FloatArray


class Factor:
    """One driver of prices. Pure in (key, day); thread-safe."""

    def __init__(self, seed: int, label: str, shape: FactorShape, parent: Factor | None = None) -> None:
        self.shape = shape
        self._parent = parent
        self._day_key = derive_key(seed, f"{label}/day")
        self._hour_key = derive_key(seed, f"{label}/hour")
        self._minute_key = derive_key(seed, f"{label}/minute")
        self._skeleton: Skeleton | None = None
        self._regime: list[float] = []
        self._lock = threading.RLock()

    def skeleton(self, days: int) -> Skeleton:
        """At least `days` days from the first one on."""
        known = self._skeleton
        if known is not None and len(known.sigma) >= days:
            return known
        reach = _SKELETON_DAYS
        while reach < days:
            reach *= 2
        with self._lock:
            self._skeleton = self._build(reach)
            return self._skeleton

    def regime(self, days: int) -> list[float]:
        """Log volatility against the usual, one for each day."""
        with self._lock:
            if len(self._regime) < days:
                shocks = _REGIME_SHOCK * normal_table()[part(hash_many(self._day_key, np.arange(days)), 1)]
                self._regime = list(accumulate(shocks.tolist(), lambda h, z: _REGIME_PERSISTENCE * h + z))
            return self._regime[:days]

    def _build(self, days: int) -> Skeleton:
        shape = self.shape
        regime = np.array(self.regime(days))
        if self._parent is not None:
            shared = np.array(self._parent.regime(days))
            regime = _SHARED_REGIME * shared + np.sqrt(1 - _SHARED_REGIME**2) * regime
        # Less the variance, so that the mean square of the factor stays 1.
        sigma = shape.sigma * np.clip(np.exp(regime - _REGIME_VARIANCE), *_REGIME_LIMITS)
        draws = hash_many(self._day_key, np.arange(days))
        extra = hash_many(self._day_key, -1 - np.arange(days))
        jumping = uniform_table()[part(draws, 2)] < shape.jumps_a_year / 365
        jump = np.where(jumping, shape.jump_sigmas * sigma * normal_table()[part(draws, 3)], 0.0)
        shocks = sigma * normal_table()[part(draws, 0)] + jump
        keep = 1 - shape.pull
        wander = np.array(list(accumulate(shocks.tolist(), lambda x, s: keep * x + s, initial=0.0)))
        trend = shape.trend * (1 - np.exp(-np.arange(days + 1) / shape.trend_days))
        minute = part(extra, 0).astype(np.int64) * DAY_MINUTES >> 16
        return Skeleton(wander + trend, sigma, jump, minute)

    def block(self, first_day: int, days: int) -> PathBlock:
        """Minutes of days [first_day, first_day + days)."""
        bones = self.skeleton(first_day + days)
        span = slice(first_day, first_day + days)
        sigma, jump = bones.sigma[span], bones.jump[span]
        level = bones.level[first_day : first_day + days + 1]
        deviation = (sigma / np.sqrt(DAY_MINUTES))[:, None] * self._hour_factor(first_day, days)
        path = np.empty((days, DAY_MINUTES + 1))
        path[:, 0] = 0.0
        index = np.arange(first_day * DAY_MINUTES, (first_day + days) * DAY_MINUTES)
        steps = fat_table()[part(hash_many(self._minute_key, index), 0)].reshape(days, DAY_HOURS, 60)
        steps *= deviation[:, :, None]
        np.cumsum(steps.reshape(days, DAY_MINUTES), axis=1, out=path[:, 1:])
        # The bridge: what is missing to the next midnight is spread by each minute's share of the variance.
        missing = (level[1:] - level[:-1] - jump) - path[:, -1]
        share = deviation**2
        share *= (missing / (60 * share.sum(axis=1)))[:, None]
        path[:, 1:] += np.cumsum(np.repeat(share, 60, axis=1), axis=1)
        path += level[:-1, None]
        for row in np.flatnonzero(jump):
            path[row, bones.jump_minute[first_day + row] + 1 :] += jump[row]
        path[:, -1] = level[1:]  # bit for bit where the next day starts
        return PathBlock(path, deviation)

    def _hour_factor(self, first_day: int, days: int) -> FloatArray:
        """(days, 24): the day's rhythm times volatility that clusters over a few hours, across midnight too."""
        first = first_day * DAY_HOURS
        index = np.arange(first - 3, first + days * DAY_HOURS)
        z = normal_table()[part(hash_many(self._hour_key, index), 0)]
        smooth = (z[3:] + z[2:-1] + z[1:-2] + z[:-3]) / 2
        factor: FloatArray = np.exp(_HOUR_SPREAD * smooth - _HOUR_SPREAD**2).reshape(days, DAY_HOURS) * _SEASON
        return factor


Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The last `size` values by key. Two threads may compute the same value; it is the same value."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        value = make()
        with self._lock:
            self._kept[key] = value
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return value
