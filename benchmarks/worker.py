"""One engine in a process of its own: reads a task a line from stdin, answers a measured run a line.

The orchestrator takes turns between the processes, so that a busy spell of the machine falls on
all engines alike. Both sides speak JSON; candles come through a shared .npy file.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# What all engines trade: long only, all-in, filled at the next open, 0.1 % a side. The capital is
# large because ten thousand fees shrink it a billionfold, and nobody may stop at a minimum order.
CAPITAL = 1e12
FEE_RATE = 0.001
START_NS = 1_577_836_800_000_000_000
STEP_NS = 60_000_000_000


@dataclass(frozen=True)
class Candles:
    """Columns of n bars; times are of bar opens, in the unit that an engine wants."""

    time_ns: np.ndarray
    time_ms: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What a run ended with, to compare the engines by."""

    final_value: float
    trades: int
    max_drawdown_percent: float


Task = Callable[[Candles], Outcome]


def load(path: str) -> Candles:
    table = np.load(path)
    columns = [np.ascontiguousarray(row) for row in table]
    time_ns = START_NS + np.arange(table.shape[1], dtype=np.int64) * STEP_NS
    return Candles(time_ns, time_ns // 1_000_000, *columns)


def crosses(fast: np.ndarray, slow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(golden, death) crosses; both bars of a cross must be defined."""
    up, down = np.zeros(len(fast), np.bool_), np.zeros(len(fast), np.bool_)
    with np.errstate(invalid="ignore"):
        above, below = fast > slow, fast < slow
        up[1:] = above[1:] & (fast[:-1] <= slow[:-1])
        down[1:] = below[1:] & (fast[:-1] >= slow[:-1])
    return up, down


def shifted(signal: np.ndarray) -> np.ndarray:
    """The signal one bar later, for engines that fill on the bar they are told."""
    later = np.zeros_like(signal)
    later[1:] = signal[:-1]
    return later


def serve(tasks: dict[str, Task], versions: dict[str, str]) -> None:
    """Answers `{"task", "candles", "inner"}` with the median seconds of `inner` runs, until stdin ends."""
    loaded: dict[str, Candles] = {}
    print(json.dumps({"versions": versions, "tasks": list(tasks)}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        path = asked["candles"]
        if path not in loaded:
            loaded[path] = load(path)
        seconds = []
        for _ in range(asked["inner"]):
            began = time.perf_counter()
            outcome = tasks[asked["task"]](loaded[path])
            seconds.append(time.perf_counter() - began)
        answer = {
            "seconds": statistics.median(seconds),
            "final_value": float(outcome.final_value),
            "trades": int(outcome.trades),
            "max_drawdown_percent": float(outcome.max_drawdown_percent),
        }
        print(json.dumps(answer), flush=True)
