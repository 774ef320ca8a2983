"""Shaping a result for people and programs: thinning, the yardstick, lines of CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from domain.market import FloatArray, IntArray

ACCOUNT_POINTS = 5_000
# Beyond this many the report names the count and leaves the rest to trades.csv: a run over a million
# bars must not make a hundred-megabyte answer.
TRADE_ROWS = 20_000


def thin(values: FloatArray, most: int = ACCOUNT_POINTS) -> IntArray:
    """Indices of at most `most` points of `values` (shape (n,)) that keep the first, the last and the extremes.

    The span is cut into equal buckets; each gives its lowest and its highest point, so that no peak or
    trough (and no drawdown between them) is lost.
    """
    n = len(values)
    if n <= most:
        return np.arange(n, dtype=np.int64)
    buckets = (most - 2) // 2
    edges = np.linspace(0, n, buckets + 1).astype(np.int64)
    kept = [0, n - 1]
    for first, last in pairwise(edges.tolist()):
        part = values[first:last]
        kept += [int(first + np.argmin(part)), int(first + np.argmax(part))]
    return np.unique(np.asarray(kept, dtype=np.int64))


def account_rows(times: IntArray, values: FloatArray, cash: FloatArray, kept: IntArray) -> list[dict[str, Any]]:
    """`account_values` of the contract at the indices `kept`."""
    return [
        {"timestamp": time, "value": value, "cash": in_cash, "positions_value": value - in_cash}
        for time, value, in_cash in zip(times[kept].tolist(), values[kept].tolist(), cash[kept].tolist(), strict=True)
    ]


def buy_and_hold(
    opens: FloatArray, closes: FloatArray, capital: float, fee_rate: float, shares: FloatArray
) -> FloatArray:
    """Value at each close, shape (rows,), of buying each coin at its first open and holding it.

    `opens`, `closes`: shape (rows, coins), NaN where a coin has no bar; `shares`: fraction of the capital
    for each coin, shape (coins,). What waits for a coin that is listed later stays cash. Fees are paid on
    the way in, as in a run.
    """
    total = np.full(closes.shape[0], capital * (1.0 - float(shares.sum())))
    for column in range(closes.shape[1]):
        budget = capital * shares[column]
        traded = np.flatnonzero(~np.isnan(opens[:, column]))
        if not len(traded):
            total += budget
            continue
        first = int(traded[0])
        quantity = budget / (opens[first, column] * (1.0 + fee_rate))
        total[:first] += budget
        total[first:] += quantity * forward_fill(closes[first:, column])
    return total


def forward_fill(values: FloatArray) -> FloatArray:
    """`values` with each NaN replaced by the last number before it; the first must be a number."""
    known = np.where(np.isnan(values), 0, np.arange(len(values)))
    filled: FloatArray = values[np.maximum.accumulate(known)]
    return filled


def csv_lines(fields: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """CSV in pieces of a few hundred lines, header first; numbers at full precision."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(fields)
    for count, row in enumerate(rows, 1):
        writer.writerow([_cell(value) for value in row])
        if count % 500 == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _cell(value: Any) -> Any:
    # A spreadsheet runs text that starts like a formula; a coin's symbol may.
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return "'" + value
    return "" if value is None else value
