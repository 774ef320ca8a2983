"""Measures Curlew against its peers, in turns within one run, and prints the ratios.

    make bench                     everything, a table
    make bench ARGS="--json"       the same for machines
    make bench ARGS="--only T1"    one task

Only a ratio measured in one run counts: machines differ, and so do minutes. Each engine is a warm
process of its own (the peers' in .bench-venv) and they take turns, round by round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SEED = 20_200_101
BARS = 1_000_000
SHORT_BARS = 1_000
WARM_UPS = 2


@dataclass(frozen=True)
class Task:
    name: str
    title: str
    kind: str  # what the engines call it
    bars: int
    inner: int  # runs behind one figure: a single short run is too small for the clock


TASKS = (
    Task("T1", "SMA 20/60, 1,000,000 bars, full result", "T1", BARS, 1),
    Task("T1s", "SMA 20/60, 1,000 bars, full result", "T1", SHORT_BARS, 20),
    Task("T3", "RSI 14 + MACD + BOLL, stop 5 %, target 10 %, 1,000,000 bars", "T3", BARS, 1),
)
ENGINES = {
    "curlew": (ROOT / ".venv", "engine_curlew.py"),
    "vectorbt": (ROOT / ".bench-venv", "engine_vectorbt.py"),
    "raptorbt": (ROOT / ".bench-venv", "engine_raptorbt.py"),
}


@dataclass(frozen=True)
class Row:
    """One figure of one engine; the ratios are its times over Curlew's: medians, and best runs."""

    task: str
    engine: str
    median_s: float
    best_s: float
    ratio: float
    best_ratio: float
    final_value: float | None = None
    trades: int | None = None
    max_drawdown_percent: float | None = None


def random_walk(bars: int) -> np.ndarray:
    """Seeded one-minute candles with a slow drift, shape (5, bars): open, high, low, close, volume."""
    rng = np.random.default_rng(SEED)
    close = 100.0 * np.exp(np.cumsum(rng.normal(2e-7, 8e-4, bars)))
    opened = np.concatenate(([100.0], close[:-1]))
    high = np.maximum(opened, close) * (1.0 + np.abs(rng.normal(0.0, 3e-4, bars)))
    low = np.minimum(opened, close) * (1.0 - np.abs(rng.normal(0.0, 3e-4, bars)))
    return np.stack([opened, high, low, close, rng.integers(1, 1000, bars).astype(np.float64)])


class Engine:
    """A worker process and the conversation with it."""

    def __init__(self, name: str, folder: Path, stack: ExitStack) -> None:
        home, script = ENGINES[name]
        self.name = name
        # From another folder: this repository's root holds a module that hides a peer's package.
        self.process = subprocess.Popen(
            [home / "bin" / "python", HERE / script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "NUMBA_CACHE_DIR": str(folder / f"numba-{name}")},
        )  # fmt: skip
        stack.callback(self.close)
        self.versions: dict[str, str] = self._read()["versions"]

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the benchmark process of {self.name} ended (its error stands above)")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def measure(self, task: Task, candles: Path) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"task": task.kind, "candles": str(candles), "inner": task.inner}) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def row_of(
    task: str, engine: str, median_s: float, best_s: float, our_median_s: float, our_best_s: float, **outcome: Any
) -> Row:
    return Row(task, engine, median_s, best_s, median_s / our_median_s, best_s / our_best_s, **outcome)


def measure_task(task: Task, engines: list[Engine], candles: Path, rounds: int) -> list[Row]:
    for engine in engines:
        for _ in range(WARM_UPS):
            engine.measure(task, candles)
    taken: dict[str, list[float]] = {engine.name: [] for engine in engines}
    last: dict[str, dict[str, Any]] = {}
    for number in range(rounds):
        shift = number % len(engines)  # nobody is always the one after the memory hog
        for engine in engines[shift:] + engines[:shift]:
            answer = engine.measure(task, candles)
            taken[engine.name].append(answer.pop("seconds"))
            last[engine.name] = answer
    ours = taken["curlew"]
    return [
        row_of(
            task.name, name, statistics.median(seconds), min(seconds), statistics.median(ours), min(ours), **last[name]
        )
        for name, seconds in taken.items()
    ]


def measure_reading(rounds: int) -> list[Row]:
    """T6, by the store's own benchmark: medians of reading a million rows, ours and Feather's."""
    done = subprocess.run(
        [sys.executable, HERE / "read_candles.py", "--json", "--rounds", str(rounds)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"benchmarks/read_candles.py failed:\n{done.stderr}")
    figures = json.loads(done.stdout)
    ours = figures["curlew"]
    return [
        row_of("T6", name, row["median_s"], row["best_s"], ours["median_s"], ours["best_s"])
        for name, row in figures.items()
    ]


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def amount(seconds: float) -> str:
    return f"{seconds * 1e3:9.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:9.1f} us"


def show(rows: list[Row], titles: dict[str, str]) -> None:
    for name, title in titles.items():
        mine = [row for row in rows if row.task == name]
        if not mine:
            continue
        print(f"\n{name}  {title}")
        truth = mine[0]
        heads = f"   {'final value':>14}  {'trades':>7}  {'drawdown':>9}" if truth.final_value else ""
        print(f"    {'':14}{'median':>12}{'best':>13}   {'to curlew: median, best':>23}{heads}")
        for row in mine:
            line = f"    {row.engine:14}{amount(row.median_s):>12} {amount(row.best_s):>12}"
            line += f"   {row.ratio:10.2f}x {row.best_ratio:10.2f}x"
            if row.final_value is not None and truth.final_value:
                line += f"   {row.final_value:14.6g}  {row.trades:7d}  {row.max_drawdown_percent:8.4f}%"
                if row is not truth:
                    line += f"   differs by {abs(row.final_value / truth.final_value - 1.0):.1e}"
            print(line)


def main() -> int:
    parser = argparse.ArgumentParser(description="Curlew against its peers, in one run")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--rounds", type=int, default=11, help="turns each engine gets (11)")
    parser.add_argument("--only", action="append", choices=[task.name for task in TASKS] + ["T6"], help="one task")
    asked = parser.parse_args()
    wanted = asked.only or ["T6", *(task.name for task in TASKS)]
    rows: list[Row] = []
    versions: dict[str, dict[str, str]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="curlew-bench-")))
        if "T6" in wanted:
            rows += measure_reading(asked.rounds)
        tasks = [task for task in TASKS if task.name in wanted]
        if tasks:
            walk = random_walk(BARS)
            for bars in {task.bars for task in tasks}:
                np.save(folder / f"{bars}.npy", walk[:, :bars])
            engines = [Engine(name, folder, stack) for name in ENGINES]
            versions = {engine.name: engine.versions for engine in engines}
            for task in tasks:
                rows += measure_task(task, engines, folder / f"{task.bars}.npy", asked.rounds)
    machine = f"{processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    if asked.json:
        print(json.dumps({"machine": machine, "versions": versions, "rows": [asdict(row) for row in rows]}, indent=2))
        return 0
    print(f"{machine}; {asked.rounds} rounds in turns, warm")
    for name, found in versions.items():
        print(f"  {name}: " + ", ".join(f"{package} {number}" for package, number in found.items()))
    show(rows, {"T6": "read 1,000,000 OHLCV rows into arrays"} | {task.name: task.title for task in TASKS})
    return 0


if __name__ == "__main__":
    sys.exit(main())
