"""T6: a million OHLCV rows from disk into arrays, the candle store beside an lz4 Feather file.

    .venv/bin/python benchmarks/read_candles.py [--json] [--rounds N]

Both take turns in one process, files in the page cache. A read ends when all six columns are arrays
and one value of every memory page has been touched: a mapped file that nobody looks at costs nothing.
Each of our reads is by a store that has not opened the series before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sqlalchemy import create_engine

from database import Base, Database, engine_options
from domain.market import Bars, SeriesKey
from store.candles import CandleStore

ROWS = 1_000_000
KEY = SeriesKey("binance", "spot", "BTCUSDT", "1m")
NAMES = ("timestamp", "open", "high", "low", "close", "volume")
VALUES_A_PAGE = 512
# What the store promises: at most half of Feather's time.
PROMISED_RATIO = 2.0


def candles(rows: int) -> Bars:
    rng = np.random.default_rng(20_200_101)
    close = 100.0 * np.exp(np.cumsum(rng.normal(2e-7, 8e-4, rows)))
    opened = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(opened, close) * 1.0003, np.minimum(opened, close) * 0.9997
    times = 1_577_836_800_000 + np.arange(rows, dtype=np.int64) * 60_000
    return Bars(times, opened, high, low, close, rng.integers(1, 1000, rows).astype(np.float64))


def touch(columns: list[np.ndarray]) -> float:
    return float(sum(column[::VALUES_A_PAGE].sum() for column in columns))


def measure(readers: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in readers}
    sums = {name: read() for name, read in readers.items()}  # a warm-up, and a check
    assert len(set(sums.values())) == 1, sums
    for number in range(rounds):
        names = list(readers)[:: 1 if number % 2 else -1]
        for name in names:
            began = time.perf_counter()
            readers[name]()
            taken[name].append(time.perf_counter() - began)
    return taken


def figures(rounds: int = 15, rows: int = ROWS) -> dict[str, dict[str, float]]:
    """Median and best seconds of each reader."""
    import pyarrow as pa
    from pyarrow import feather

    with tempfile.TemporaryDirectory(prefix="curlew-read-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'tail.db'}"
        engine = create_engine(url, **engine_options(url))
        Base.metadata.create_all(engine)
        database = Database(engine)
        bars = candles(rows)
        CandleStore(folder / "candles", database).merge(KEY, bars)
        table = pa.table(dict(zip(NAMES, bars.columns(), strict=True)))
        feather.write_feather(table, str(folder / "candles.feather"), compression="lz4")

        def read_ours() -> float:
            return touch(list(CandleStore(folder / "candles", database).load(KEY).columns()))

        def read_feather() -> float:
            read = feather.read_table(str(folder / "candles.feather"))
            return touch([read.column(column).to_numpy() for column in NAMES])

        taken = measure({"curlew": read_ours, "feather lz4": read_feather}, rounds)
        engine.dispose()
    return {name: {"median_s": statistics.median(seconds), "best_s": min(seconds)} for name, seconds in taken.items()}


def run(rounds: int = 15) -> list[dict[str, object]]:
    """One row for each reader; `ratio` is its median over ours."""
    found = figures(rounds)
    ours = found["curlew"]["median_s"]
    return [{"task": "T6", "engine": name, **row, "ratio": row["median_s"] / ours} for name, row in found.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="figures for machines")
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    found = figures(asked.rounds)
    if asked.json:
        print(json.dumps(found))
        return 0
    ours = found["curlew"]
    for name, row in found.items():
        print(
            f"{name:12} median {row['median_s'] * 1e3:8.2f} ms   best {row['best_s'] * 1e3:8.2f} ms   "
            f"to curlew {row['median_s'] / ours['median_s']:5.1f}, {row['best_s'] / ours['best_s']:5.1f}"
        )
    ratio = found["feather lz4"]["median_s"] / ours["median_s"]
    print(f"promised: {PROMISED_RATIO:.0f} at least; {'kept' if ratio >= PROMISED_RATIO else 'BROKEN'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
