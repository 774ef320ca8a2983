"""/api/candles: list, gaps, upload, delete."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from domain.market import SeriesKey
from store.candles import CandleStore
from tests.candle_files import HOUR, START, bars_at, dump_row, hour, write_parquet

KEY = SeriesKey("binance", "spot", "BTCUSDT", "1h")
NAMES = {"venue": "binance", "market": "spot", "symbol": "BTCUSDT", "interval": "1h"}
GOOD = "\n".join(dump_row(hour(i)) for i in (0, 1, 2, 5)).encode()


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    from app import create_app
    from config import Settings

    return create_app(Settings(data_dir=tmp_path_factory.mktemp("data"), market="simulated", _env_file=None))


@pytest.fixture
def client(application: Flask) -> FlaskClient:
    """A program, before an empty store."""
    candles: CandleStore = application.extensions["curlew"].candles
    for info in candles.list():
        candles.delete(info.key)
    return application.test_client(use_cookies=False)


@pytest.fixture
def store(client: FlaskClient) -> CandleStore:
    found: CandleStore = client.application.extensions["curlew"].candles
    return found


def upload(client: FlaskClient, *files: tuple[str, bytes], **fields: str) -> Any:
    data: dict[str, Any] = {"files": [(io.BytesIO(content), name) for name, content in files], **fields}
    return client.post("/api/candles/import", data=data, content_type="multipart/form-data")


def test_the_list_is_bare_and_whole(client: FlaskClient, store: CandleStore) -> None:
    assert client.get("/api/candles").get_json() == []
    store.merge(KEY, bars_at([0, 1, 5]))
    assert client.get("/api/candles").get_json() == [
        {**NAMES, "rows": 3, "first": START, "last": START + 5 * HOUR, "gaps": 1}
    ]


def test_gaps_name_their_first_and_last_missing_bar(client: FlaskClient, store: CandleStore) -> None:
    store.merge(KEY, bars_at([0, 1, 5, 7]))
    answer = client.get("/api/candles/gaps", query_string=NAMES)
    assert answer.get_json() == [
        {"first": hour(2), "last": hour(4), "bars": 3},
        {"first": hour(6), "last": hour(6), "bars": 1},
    ]
    assert client.get("/api/candles/gaps", query_string={**NAMES, "symbol": "X"}).status_code == 404


def test_an_upload_is_imported_and_accounted_for(client: FlaskClient, store: CandleStore) -> None:
    answer = upload(client, ("BTCUSDT-1h-2024-01.csv", GOOD + b"\n1,2,3\n"), market="spot")
    assert answer.status_code == 200
    report = answer.get_json()
    assert report["totals"] == {
        "files": 1, "errors": 0, "rows": 5, "stored": 4, "unchanged": 0, "different": 0, "replaced": 0, "refused": 1,
    }  # fmt: skip
    assert report["files"][0]["path"] == "BTCUSDT-1h-2024-01.csv"
    assert report["files"][0]["refusals"] == [{"line": 5, "reason": "3 columns where 12 belong"}]
    assert report["series"] == [{**NAMES, "rows": 4, "first": hour(0), "last": hour(5), "gaps": 1}]
    assert len(store.load(KEY)) == 4
    assert list((store.root.parent / "uploads").iterdir()) == []


def test_folders_in_names_tell_the_series(client: FlaskClient, store: CandleStore, tmp_path: Path) -> None:
    names = ("timestamp", "open", "high", "low", "close", "volume")
    columns: dict[str, object] = dict(zip(names, bars_at([0, 1]).columns(), strict=True))
    candles = write_parquet(tmp_path / "x.parquet", columns).read_bytes()
    rates = write_parquet(tmp_path / "y.parquet", {"timestamp": [START], "funding_rate": [1e-4]}).read_bytes()
    report = upload(
        client, ("binance/um/BTCUSDT/1h-mark.parquet", candles), ("funding/okx/BTC-USDT-SWAP.parquet", rates)
    ).get_json()
    assert [(file["kind"], file["series"]) for file in report["files"]] == [
        ("candles", "binance/perp-mark/BTCUSDT/1h"),
        ("funding", "okx/BTC-USDT-SWAP"),
    ]
    assert [info.key.market for info in store.list()] == ["perp-mark"]


def test_differences_are_shown_and_replaced_on_request(client: FlaskClient, store: CandleStore) -> None:
    upload(client, ("BTCUSDT-1h-2024-01.csv", GOOD))
    other = ("BTCUSDT-1h-2024-01.csv", dump_row(hour(1), volume=6).encode())
    report = upload(client, other).get_json()
    assert report["totals"]["different"] == 1
    difference = report["files"][0]["differences"][0]
    assert (difference["timestamp"], difference["stored"]["volume"], difference["given"]["volume"]) == (hour(1), 5, 6)
    assert upload(client, other, replace="1").get_json()["totals"]["replaced"] == 1
    assert store.load(KEY).volume.tolist() == [5.0, 6.0, 5.0, 5.0]


def test_a_file_that_cannot_be_read_is_in_the_report(client: FlaskClient) -> None:
    report = upload(client, ("x.zip", b"no zip"), ("y.csv", GOOD), ("BTCUSDT-1h-2024-01.csv", GOOD)).get_json()
    assert [bool(file["error"]) for file in report["files"]] == [True, True, False]
    assert "symbol, interval" in report["files"][1]["error"]


@pytest.mark.parametrize(
    ("files", "fields", "field"),
    [
        ([], {}, "files"),
        ([("../x.csv", GOOD)], {}, "files"),
        ([("a\nb.csv", GOOD)], {}, "files"),
        ([("x" * 201 + ".csv", GOOD)], {}, "files"),
        ([("a.csv", GOOD), ("./a.csv", GOOD)], {}, "files"),
        ([("a.csv", GOOD), ("a.csv/b.csv", GOOD)], {}, "files"),
        ([("a.csv", GOOD)], {"market": "cash"}, "market"),
        ([("a.csv", GOOD)], {"interval": "7m"}, "interval"),
        ([("a.csv", GOOD)], {"venue": "../x"}, "venue"),
        ([("a.csv", GOOD)], {"replace": "maybe"}, "replace"),
        ([("a.csv", GOOD)], {"color": "red"}, "color"),
    ],
)
def test_bad_uploads_are_refused_by_field(
    client: FlaskClient, store: CandleStore, files: list[tuple[str, bytes]], fields: dict[str, str], field: str
) -> None:
    answer = upload(client, *files, **fields)
    assert (answer.status_code, answer.get_json()["field"]) == (422, field)
    assert store.list() == []


def test_files_belong_in_their_field(client: FlaskClient) -> None:
    answer = client.post("/api/candles/import", data={"file": (io.BytesIO(GOOD), "a.csv")})
    assert (answer.status_code, answer.get_json()["field"]) == (422, "files")


def test_a_series_is_deleted_once(client: FlaskClient, store: CandleStore) -> None:
    store.merge(KEY, bars_at([0, 1]))
    assert client.delete("/api/candles", query_string=NAMES).status_code == 204
    assert store.list() == []
    assert client.delete("/api/candles", query_string=NAMES).status_code == 404


@pytest.mark.parametrize(
    ("change", "status"),
    [({"market": "cash"}, 422), ({"interval": "1M"}, 422), ({"symbol": "\x01"}, 422), ({"venue": "../x"}, 422)],
)
def test_bad_names_are_refused(client: FlaskClient, change: dict[str, str], status: int) -> None:
    for call in (client.get, client.delete):
        path = "/api/candles/gaps" if call == client.get else "/api/candles"
        answer = call(path, query_string={**NAMES, **change})
        assert (answer.status_code, answer.get_json()["field"]) == (status, next(iter(change)))
    assert client.delete("/api/candles").status_code == 422
