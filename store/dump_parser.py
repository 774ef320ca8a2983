"""Bytes of candle files to columns: Binance dump CSV, CSV with a header, Parquet. Pure but for Parquet's file.

Rows are parsed, not judged: `bar_checks` does that.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.errors import BadData
from domain.market import Bars, IntArray
from store.bar_checks import Refusal
from store.series_file import values_of

# Binance: open time, open, high, low, close, volume, close time, quote volume, trades, two taker volumes, ignore
DUMP_WIDTH = 12
PRICES = ("open", "high", "low", "close", "volume")
TIME_NAMES = ("open_time", "timestamp")
# Binance's spot dumps count microseconds from January 2025 on. As milliseconds this is the year 5138.
MICROSECONDS_FROM = 100_000_000_000_000
# A column of this many rows is half a gigabyte in memory: more is a bomb or a mistake.
MAX_ROWS = 20_000_000

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class ParsedRows:
    """`rows` counts good and bad ones; `lines[i]` is where bar i stands; `refusals` could not be parsed.

    `market` is what the form of the file tells: perp for a dump with a header, spot for one without,
    None for other tables. `is_dump`: it has Binance's columns.
    """

    rows: int
    bars: Bars
    lines: IntArray
    refusals: tuple[Refusal, ...]
    is_dump: bool = False
    market: str | None = None


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the six columns stand, how wide a row is, and how many lines come before the first."""

    places: tuple[int, ...]
    width: int
    skipped: int
    is_dump: bool
    has_header: bool


def parse_csv(data: bytes) -> ParsedRows:
    """BadData where the header lacks a column; rows that cannot be parsed are refusals."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    layout = _layout(data)
    parsed = _parse_quickly(data, layout)
    if parsed is None:
        parsed = _parse_line_by_line(data, layout)
    market = ("perp" if layout.has_header else "spot") if layout.is_dump else None
    return ParsedRows(parsed.rows, parsed.bars, parsed.lines, parsed.refusals, layout.is_dump, market)


def _layout(data: bytes) -> _Layout:
    end = data.find(b"\n")
    first = data[: end if end >= 0 else len(data)].decode("utf-8", "replace").strip()
    names = [cell.strip().strip('"').lower().replace(" ", "_") for cell in first.split(",")]
    if "open" not in names and not any(name in names for name in TIME_NAMES):
        return _Layout((0, 1, 2, 3, 4, 5), DUMP_WIDTH, 0, is_dump=True, has_header=False)
    time = next((name for name in TIME_NAMES if name in names), None)
    missing = [name for name in PRICES if name not in names] + ([] if time else ["timestamp"])
    if missing or time is None:
        raise BadData(f"line 1: the header lacks {', '.join(missing)}")
    is_dump = time == "open_time" and "close_time" in names
    places = tuple(names.index(name) for name in (time, *PRICES))
    return _Layout(places, len(names), 1, is_dump=is_dump, has_header=True)


def _parse_quickly(data: bytes, layout: _Layout) -> ParsedRows | None:
    """Whole columns at once; None where any row is not in order, for the slow way to name it."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = [str(place) for place in range(layout.width)]
    wanted = [names[place] for place in layout.places]
    types = {name: pa.int64() if i == 0 else pa.float64() for i, name in enumerate(wanted)}
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(column_names=names, skip_rows=layout.skipped),
            parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False),
            convert_options=arrow_csv.ConvertOptions(column_types=types, include_columns=wanted, null_values=[]),
        )
    except pa.ArrowException:
        return None
    time, *prices = (values_of(table.column(name)) for name in wanted)
    lines = np.arange(layout.skipped + 1, layout.skipped + 1 + len(time), dtype=np.int64)
    return ParsedRows(len(time), Bars(_milliseconds(time), *prices), lines, ())


def _parse_line_by_line(data: bytes, layout: _Layout) -> ParsedRows:
    rows: list[tuple[int, ...]] = []
    values: list[list[float]] = []
    refusals: list[Refusal] = []
    for number, line in enumerate(io.StringIO(data.decode("utf-8", "replace"), newline=None), 1):
        text = line.strip()
        if number <= layout.skipped or not text:
            continue
        cells = next(csv.reader([text])) if '"' in text else text.split(",")
        fault = _fault(cells, layout)
        if fault:
            refusals.append(Refusal(number, fault))
            continue
        rows.append((number, int(cells[layout.places[0]])))
        values.append([float(cells[place]) for place in layout.places[1:]])
    lines, time = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    prices = np.array(values, dtype=np.float64).reshape(-1, len(PRICES)).T
    bars = Bars(_milliseconds(np.ascontiguousarray(time)), *(np.ascontiguousarray(column) for column in prices))
    return ParsedRows(len(rows) + len(refusals), bars, np.ascontiguousarray(lines), tuple(refusals))


def _fault(cells: list[str], layout: _Layout) -> str | None:
    if len(cells) != layout.width:
        return f"{len(cells)} columns where {layout.width} belong"
    time, *prices = (cells[place].strip() for place in layout.places)
    if not _INTEGER.fullmatch(time):
        return f"time {_shown(time)} is not a whole number"
    for name, price in zip(PRICES, prices, strict=True):
        if not _NUMBER.fullmatch(price):
            return f"{name} {_shown(price)} is not a number"
    return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")


def _milliseconds(times: IntArray) -> IntArray:
    return np.where(times >= MICROSECONDS_FROM, times // 1000, times)


# -- Parquet ------------------------------------------------------------------------------


def read_parquet(path: Path, names: tuple[str, ...]) -> list[NDArray[Any]]:
    """The named columns; int64 ms for `timestamp` (-1 where it is null), float64 (NaN where null) for the rest.

    BadData where the file is not Parquet, lacks a column, has one of another kind, or is too large.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            if file.metadata.num_rows > MAX_ROWS:
                raise BadData(f"{file.metadata.num_rows:,} rows in one file; {MAX_ROWS:,} at most, split it")
            missing = [name for name in names if name not in file.schema_arrow.names]
            if missing:
                raise BadData(f"no column {', '.join(missing)}; it has {', '.join(file.schema_arrow.names[:12])}")
            table = file.read(columns=list(names))
    except (pa.ArrowException, OSError) as error:
        raise BadData(f"not a readable Parquet file: {error}") from error
    return [_column(name, table.column(name)) for name in names]


def read_parquet_bars(path: Path) -> ParsedRows:
    """Candle columns of the contract: timestamp (int64 ms UTC, bar open), open, high, low, close, volume."""
    time, *prices = read_parquet(path, ("timestamp", *PRICES))
    return ParsedRows(len(time), Bars(time, *prices), np.arange(1, len(time) + 1, dtype=np.int64), ())


def _column(name: str, column: Any) -> NDArray[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    try:
        if name == "timestamp" and pa.types.is_timestamp(column.type):
            column = pc.cast(pc.cast(column, pa.timestamp("ms", tz=column.type.tz)), pa.int64())
        elif name == "timestamp" and not pa.types.is_integer(column.type):
            raise BadData(f"column timestamp is {column.type}, not int64 milliseconds")
        elif not is_number and not pa.types.is_decimal(column.type):
            raise BadData(f"column {name} is {column.type}, not a number")
        wanted = pa.int64() if name == "timestamp" else pa.float64()
        column = pc.cast(column, wanted)
        if column.null_count:
            column = pc.fill_null(column, -1 if name == "timestamp" else float("nan"))
    except pa.ArrowException as error:
        raise BadData(f"column {name} cannot be read: {error}") from error
    return values_of(column)


def is_funding_file(path: Path) -> bool:
    """Whether it is a readable Parquet file with funding rates in it."""
    import pyarrow as pa
    from pyarrow import parquet

    if path.suffix.lower() != ".parquet":
        return False
    try:
        return "funding_rate" in parquet.read_schema(path).names
    except (pa.ArrowException, OSError):
        return False
