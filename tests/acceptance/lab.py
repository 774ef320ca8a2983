"""What the acceptance tests share: candle tables as text, imports through the command, runs through the route.

A table is one bar a line: open high low close, then nothing, `B` or `S`. A `B` makes the close of that bar a buy
signal, an `S` a sell signal: the bar's volume is ten times that of the bar before, and the rule set `GATED` reads
such a bar as a buy where it closed above the close before it and as a sell where it closed below. A line `-` is an
hour without a bar.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.oracle.reference import HOUR, Candle

if TYPE_CHECKING:
    from flask import Flask

START = 1_704_067_200_000  # 2024-01-01 00:00 UTC, a Monday
WAIT = {"Prefer": "wait=60"}


def group(*conditions: tuple[str, str, dict[str, Any]], logic: str = "AND") -> dict[str, Any]:
    told = [{"indicator_type": kind, "signal_type": signal, "params": params} for kind, signal, params in conditions]
    return {"logic": logic, "conditions": told}


LOUD = ("VOLUME", "above", {"period": 1, "factor": 2})
RISES = ("MA", "above", {"period": 2})
FALLS = ("MA", "below", {"period": 2})


def gated(direction: str = "long") -> dict[str, Any]:
    return {
        "name": "gated", "direction": direction, "buy_groups": [group(LOUD, RISES)], "sell_groups": [group(LOUD, FALLS)]
    }  # fmt: skip


def cross(fast: int, slow: int, direction: str = "long") -> dict[str, Any]:
    params = {"fast": fast, "slow": slow}
    return {
        "name": "cross", "direction": direction,
        "buy_groups": [group(("MA", "golden_cross", params))], "sell_groups": [group(("MA", "death_cross", params))],
    }  # fmt: skip


def table(text: str, start: int = START, step: int = HOUR) -> list[Candle]:
    candles: list[Candle] = []
    for place, line in enumerate(part for part in text.strip().splitlines() if part.strip()):
        words = line.split()
        if words == ["-"]:
            continue
        prices = [float(word) for word in words[:4]]
        volume = 1.0
        if words[4:]:
            before = candles[-1]
            volume = before.volume * 10
            rises = prices[3] > before.close
            if (words[4] == "B") != rises or prices[3] == before.close:
                raise ValueError(f"bar {place} cannot be a {words[4]}: closes at {prices[3]} after {before.close}")
        candles.append(Candle(start + place * step, *prices, volume))
    return candles


def at(place: float, step: int = HOUR) -> int:
    return START + int(place * step)


class Lab:
    """The application under test. Every import takes a name of its own, so that no test sees another's candles."""

    def __init__(self, app: Flask, folder: Path) -> None:
        self.app, self.folder = app, folder
        self.client = app.test_client(use_cookies=False)
        self.numbers = itertools.count(1)

    def name(self) -> str:
        return f"Q{next(self.numbers):05d}"

    def command(self, *words: object) -> str:
        result = self.app.test_cli_runner().invoke(args=[str(word) for word in words])
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def write(self, candles: Sequence[Candle], path: Path) -> Path:
        import pyarrow as pa
        from pyarrow import parquet

        path.parent.mkdir(parents=True, exist_ok=True)
        columns: dict[str, Any] = {"timestamp": pa.array([c.time for c in candles], pa.int64())}
        for word in ("open", "high", "low", "close", "volume"):
            columns[word] = pa.array([getattr(c, word) for c in candles], pa.float64())
        parquet.write_table(pa.table(columns), path)
        return path

    def write_funding(self, rates: Iterable[tuple[int, float]], path: Path) -> Path:
        import pyarrow as pa
        from pyarrow import parquet

        rates = list(rates)
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {
            "timestamp": pa.array([time for time, _ in rates], pa.int64()),
            "funding_rate": pa.array([rate for _, rate in rates], pa.float64()),
        }
        parquet.write_table(pa.table(columns), path)
        return path

    def store(
        self, candles: Sequence[Candle], *, name: str = "", market: str = "spot", interval: str = "1h",
        marks: Sequence[Candle] = (), rates: Iterable[tuple[int, float]] = (),
        detail: Sequence[Candle] = (), detail_interval: str = "15m", venue: str = "binance",
    ) -> str:  # fmt: skip
        """Imports a coin's candles (and what goes with them) and returns the coin's name."""
        name = name or self.name()
        root = self.folder / name
        folder = {"perp": "um"}.get(market, market)
        self.write(candles, root / venue / folder / f"{name}USDT" / f"{interval}.parquet")
        if marks:
            self.write(marks, root / venue / "um" / f"{name}USDT" / f"{interval}-mark.parquet")
        if detail:
            self.write(detail, root / venue / folder / f"{name}USDT" / f"{detail_interval}.parquet")
        self.command("candles", "import", root)
        if rates := list(rates):
            path = self.write_funding(rates, self.folder / f"{name}-funding" / venue / f"{name}USDT.parquet")
            self.command("funding", "import", path.parent.parent)
        return name

    def ask(self, body: dict[str, Any], wait: bool = True) -> Any:
        return self.client.post("/api/backtest/run", json=body, headers=WAIT if wait else {})

    def run(self, coins: str | list[str], strategy: dict[str, Any], **wanted: Any) -> dict[str, Any]:
        names = [coins] if isinstance(coins, str) else coins
        body = {
            "strategy": strategy, "coins": names, "start_date": "2024-01-01", "end_date": "2024-12-31",
            "initial_capital": 1000.0, "trade_fee_rate": 0.0, "funding": "none", **wanted,
        }  # fmt: skip
        answer = self.ask(body)
        if answer.status_code == 202:  # compiled for the first time on a busy machine: asked again
            url = answer.get_json()["url"]
            while self.client.get(url).get_json()["status"] in ("queued", "running"):
                time.sleep(0.2)
            answer = self.ask(body)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        report: dict[str, Any] = answer.get_json()
        return report
