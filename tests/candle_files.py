"""Stores and candle files for tests."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sqlalchemy import create_engine

from database import Base, Database, engine_options
from domain.market import Bars
from store.candles import CandleStore

HOUR = 3_600_000
START = 1_704_067_200_000  # 2024-01-01

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


@contextmanager
def open_store(folder: Path) -> Iterator[CandleStore]:
    """A store of its own in `folder`, tables and all; a second one on the same folder shares its data."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder / 'curlew.db'}"
    engine = create_engine(url, **engine_options(url))
    database = Database(engine)
    Base.metadata.create_all(engine)
    try:
        yield CandleStore(folder / "candles", database)
    finally:
        engine.dispose()


def bars_at(hours: Iterable[int], price: float = 100.0, *, start: int = START, step: int = HOUR) -> Bars:
    """Bars at these places of the sequence, each with prices of its own (high and low around them)."""
    places = np.fromiter(hours, dtype=np.int64)
    opens = price + places.astype(np.float64)
    return Bars(start + places * step, opens, opens + 2.0, opens - 2.0, opens + 1.0, opens * 3.0)


def same(first: Bars, second: Bars) -> bool:
    return len(first) == len(second) and first.sha256() == second.sha256()


def dump_row(time: int, prices: Sequence[object] = (100, 110, 90, 105), volume: object = 5, step: int = HOUR) -> str:
    """A row of a Binance dump; `time` in ms or us."""
    cells = [time, *prices, volume, time + step - 1, 1, 1, 1, 1, 0]
    return ",".join(str(cell) for cell in cells)


def hour(place: int) -> int:
    return START + place * HOUR


def write_csv(path: Path, rows: Iterable[str], header: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [*([header] if header else []), *rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_zip(path: Path, members: dict[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def write_parquet(path: Path, columns: dict[str, object]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path)
    return path
