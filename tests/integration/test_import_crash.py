"""kill -9 in the middle of an import: each series is the old one or the new one, and a re-run completes."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from domain.market import Bars, SeriesKey
from tests.candle_files import bars_at, open_store, same, write_parquet

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("timestamp", "open", "high", "low", "close", "volume")
SERIES = 12
OLD_ROWS, NEW_ROWS = 20_000, 50_000

# Tails are part of it: half of the old bars lie in SQLite, and the import moves them into the file.
IMPORT = """
import sys
from pathlib import Path
import pyarrow, pyarrow.parquet
from store.importer import import_paths
from tests.candle_files import open_store
folder = Path(sys.argv[1])
with open_store(folder / "data") as store:
    report = import_paths([folder / "files"], store, progress=lambda at: print(at.path, flush=True))
    assert not report.errors, report.errors
print("done", flush=True)
"""


def key(i: int) -> SeriesKey:
    return SeriesKey("binance", "spot", f"C{i}USDT", "1h")


def write_files(folder: Path) -> None:
    for i in range(SERIES):
        columns = bars_at(range(NEW_ROWS), price=1000.0 * (i + 1)).columns()
        table: dict[str, object] = dict(zip(NAMES, columns, strict=True))
        write_parquet(folder / f"files/binance/spot/{key(i).symbol}/1h.parquet", table)


def old_bars(i: int) -> Bars:
    """Every third bar, so that the import goes between them."""
    return bars_at(range(0, OLD_ROWS, 3), price=1000.0 * (i + 1))


def reset(folder: Path) -> None:
    with open_store(folder / "data") as store:
        for i in range(SERIES):
            store.delete(key(i))
            bars = old_bars(i)
            if i % 3:
                store.merge(key(i), bars[:-40])
                store.append(key(i), bars[-40:])


def states(folder: Path) -> list[str]:
    """`old` or `new` for each series; fails on anything else."""
    found = []
    with open_store(folder / "data") as store:
        for i in range(SERIES):
            bars = store.load(key(i))
            info = store.info(key(i))
            assert (info.rows if info else 0) == len(bars)
            old = old_bars(i) if i % 3 else Bars.empty()
            if same(bars, old):
                found.append("old")
            else:
                assert same(bars, bars_at(range(NEW_ROWS), price=1000.0 * (i + 1))), f"series {i}: {len(bars)} bars"
                found.append("new")
    return found


def start_import(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", IMPORT, str(folder)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run_import(folder: Path) -> None:
    process = start_import(folder)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert out.endswith("done\n")


def kill_import(folder: Path, file: int, after_s: float) -> None:
    """Some time after the import has begun with its n-th file."""
    process = start_import(folder)
    assert process.stdout is not None
    for _ in range(file):
        assert process.stdout.readline()
    time.sleep(after_s)
    process.kill()
    process.communicate()


def drill(folder: Path, kills: int) -> None:
    write_files(folder)
    reset(folder)
    chance = random.Random(20261120)
    mixed = 0
    for _ in range(kills):
        reset(folder)
        assert states(folder) == ["old"] * SERIES
        kill_import(folder, chance.randint(1, SERIES), chance.uniform(0.0, 0.04))
        mixed += len(set(states(folder))) == 2
    run_import(folder)
    assert states(folder) == ["new"] * SERIES
    assert not list((folder / "data").rglob("*.tmp"))
    # Some of the kills must have come in the middle, or the drill has shown nothing.
    assert mixed >= kills // 3


def test_killed_imports_leave_whole_series(tmp_path: Path) -> None:
    drill(tmp_path, 6)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_imports_leave_whole_series_long(tmp_path: Path) -> None:
    drill(tmp_path, 60)
