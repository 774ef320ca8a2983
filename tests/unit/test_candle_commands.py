"""`flask candles` and `flask funding`: what they print and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result
from flask import Flask

from cli.candles import candles_cli
from cli.funding import funding_cli
from domain.market import SeriesKey
from runtime.clock import SystemClock
from store.candles import CandleStore
from store.funding import FundingStore
from tests.candle_files import START, bars_at, dump_row, hour, open_store, write_csv, write_parquet

GOOD = [dump_row(hour(i)) for i in (0, 1, 2, 5)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CandleStore]:
    with open_store(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def flask_app(store: CandleStore, tmp_path: Path) -> Flask:
    app = Flask(__name__)
    app.extensions["curlew"] = SimpleNamespace(
        candles=store, funding=FundingStore(tmp_path / "rates"), clock=SystemClock()
    )
    app.cli.add_command(candles_cli)
    app.cli.add_command(funding_cli)
    return app


def run(app: Flask, *arguments: object) -> Result:
    return app.test_cli_runner().invoke(args=[str(argument) for argument in arguments])


def test_import_says_what_it_did(flask_app: Flask, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "spot/BTCUSDT-1h-2024-01.csv", [*GOOD, "1,2,3", dump_row(hour(7), (100, 90, 110, 105))])
    done = run(flask_app, "candles", "import", path)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert f"{path}: binance/spot/BTCUSDT/1h: 6 rows read, 4 stored, 0 unchanged, 2 refused, 1 gaps" in lines
    assert f"  {path}:5: 3 columns where 12 belong" in lines
    assert f"  {path}:6: high 90.0 is below low 110.0" in lines
    assert "1 files: 6 rows read, 4 stored, 0 unchanged, 0 different, 0 replaced, 2 refused, 1 gaps" in lines
    assert "Import" in done.stderr


def test_import_shows_differences_and_replaces_them(flask_app: Flask, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "spot/BTCUSDT-1h-2024-01.csv", GOOD)
    run(flask_app, "candles", "import", path)
    write_csv(path, [dump_row(hour(1), volume=6)])
    done = run(flask_app, "candles", "import", path)
    assert done.exit_code == 0
    shown = "  2024-01-01T01:00Z: stored 100.0 110.0 90.0 105.0 5.0, in the file 100.0 110.0 90.0 105.0 6.0"
    assert shown in done.stdout.splitlines()
    assert "--replace" in done.stdout
    done = run(flask_app, "candles", "import", "--replace", path)
    assert "1 replaced" in done.stdout


def test_import_as_json(flask_app: Flask, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "spot/龙虾USDT-1h-2024-01.csv", [*GOOD, "1,2,3"])
    report = json.loads(run(flask_app, "candles", "import", "--json", path).stdout)
    assert report["totals"] == {
        "files": 1, "errors": 0, "rows": 5, "stored": 4, "unchanged": 0, "different": 0, "replaced": 0, "refused": 1,
    }  # fmt: skip
    assert report["files"][0]["refusals"] == [{"line": 5, "reason": "3 columns where 12 belong"}]
    assert report["series"][0]["symbol"] == "龙虾USDT"


def test_an_unreadable_file_is_status_1_and_the_rest_is_stored(
    flask_app: Flask, store: CandleStore, tmp_path: Path
) -> None:
    bad = write_csv(tmp_path / "spot/BTCUSDT-1h-2024-02.zip", ["x"])
    good = write_csv(tmp_path / "spot/BTCUSDT-1h-2024-01.csv", GOOD)
    done = run(flask_app, "candles", "import", bad, good)
    assert done.exit_code == 1
    assert f"{bad}: NOT READ: not a readable zip" in done.stdout
    assert [info.rows for info in store.list()] == [4]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("/nowhere",), 2), ((), 2), (("--market", "cash", "/"), 1), (("--interval", "7m", "/"), 1), (("--wrong",), 2)],
)
def test_wrong_arguments_are_errors(flask_app: Flask, arguments: tuple[str, ...], status: int) -> None:
    done = run(flask_app, "candles", "import", *arguments)
    assert done.exit_code == status
    assert "Error" in done.stderr


def test_list_is_whole_and_aligned(flask_app: Flask, store: CandleStore) -> None:
    store.merge(SeriesKey("binance", "spot", "BTCUSDT", "1h"), bars_at(range(1500)))
    store.merge(SeriesKey("binance", "perp", "龙虾USDT", "1h"), bars_at([0, 2]))
    done = run(flask_app, "candles", "list")
    assert done.stdout.splitlines() == [
        "venue    market  symbol    interval  rows  first              last               gaps",
        "binance  perp    龙虾USDT  1h           2  2024-01-01T00:00Z  2024-01-01T02:00Z     1",
        "binance  spot    BTCUSDT   1h        1500  2024-01-01T00:00Z  2024-03-03T11:00Z     0",
    ]


def test_list_as_json(flask_app: Flask, store: CandleStore) -> None:
    assert json.loads(run(flask_app, "candles", "list", "--json").stdout) == []
    store.merge(SeriesKey("binance", "perp-mark", "BTCUSDT", "1h"), bars_at([0, 2]))
    assert json.loads(run(flask_app, "candles", "list", "--json").stdout) == [
        {"venue": "binance", "market": "perp-mark", "symbol": "BTCUSDT", "interval": "1h",
         "rows": 2, "first": hour(0), "last": hour(2), "gaps": 1}
    ]  # fmt: skip


def test_funding_rates(flask_app: Flask, tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "binance/BTCUSDT.parquet", {"timestamp": [START, START + 9], "funding_rate": [1e-4, 2e-4]}
    )
    done = run(flask_app, "funding", "import", path)
    assert done.exit_code == 0, done.output
    assert f"{path}: binance/BTCUSDT: 2 rows read, 1 stored, 0 unchanged, 1 refused" in done.stdout.splitlines()
    assert json.loads(run(flask_app, "funding", "list", "--json").stdout) == [
        {"venue": "binance", "symbol": "BTCUSDT", "rows": 1, "first": START, "last": START}
    ]
    assert "2024-01-01T00:00Z" in run(flask_app, "funding", "list").stdout
    path.write_bytes(b"x")
    assert run(flask_app, "funding", "import", path).exit_code == 1
