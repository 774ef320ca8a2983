"""FundingStore: rates at the full minutes they were due."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import BadData
from store.funding import FundingInfo, FundingStore, read_funding
from store.importer import import_funding
from tests.candle_files import HOUR, START, write_parquet

EIGHT = 8 * HOUR


@pytest.fixture
def store(tmp_path: Path) -> FundingStore:
    return FundingStore(tmp_path / "rates")


def rates_file(folder: Path, times: list[int | None], rates: list[float | None]) -> Path:
    return write_parquet(folder / "okx/BTC-USDT-SWAP.parquet", {"timestamp": times, "funding_rate": rates})


def test_what_is_imported_is_loaded(store: FundingStore, tmp_path: Path) -> None:
    path = rates_file(tmp_path, [START, START + EIGHT, START + 2 * EIGHT], [1e-4, -2e-4, 3e-4])
    report = import_funding([path], store)
    assert (report.total("rows"), report.total("stored"), report.total("refused")) == (3, 3, 0)
    times, rates = store.load("okx", "BTC-USDT-SWAP")
    assert times.tolist() == [START, START + EIGHT, START + 2 * EIGHT]
    assert rates.tolist() == [1e-4, -2e-4, 3e-4]
    assert (times.dtype, rates.dtype) == (np.int64, np.float64)
    times, rates = store.load("okx", "BTC-USDT-SWAP", START + EIGHT, START + 2 * EIGHT)
    assert (times.tolist(), rates.tolist()) == ([START + EIGHT], [-2e-4])
    assert store.list() == [FundingInfo("okx", "BTC-USDT-SWAP", 3, START, START + 2 * EIGHT)]


def test_a_damaged_file_does_not_hide_the_others(store: FundingStore, tmp_path: Path) -> None:
    import_funding([rates_file(tmp_path, [START], [1e-4])], store)
    (store.root / "okx" / "ETH-USDT-SWAP.arrow").write_bytes(b"half a fi")
    assert [info.symbol for info in store.list()] == ["BTC-USDT-SWAP"]
    with pytest.raises(BadData):
        store.load("okx", "ETH-USDT-SWAP")


def test_unknown_series_are_empty(store: FundingStore) -> None:
    times, rates = store.load("okx", "BTC-USDT-SWAP")
    assert (len(times), len(rates), store.list(), store.delete("okx", "x")) == (0, 0, [], False)


def test_late_stamps_belong_to_their_full_minute(store: FundingStore, tmp_path: Path) -> None:
    path = rates_file(tmp_path, [START + 48, START + HOUR + 59_999, START + 2 * HOUR], [1e-4, 2e-4, 3e-4])
    import_funding([path], store)
    assert store.load("okx", "BTC-USDT-SWAP")[0].tolist() == [START, START + HOUR, START + 2 * HOUR]


def test_refused_rows_are_named(store: FundingStore, tmp_path: Path) -> None:
    times = [START, START + 10, START + 20, START + HOUR, START + 2 * HOUR, 5, None, START - HOUR, START + 3 * HOUR]
    rates = [1e-4, 1e-4, 9e-4, float("nan"), 1.5, 1e-4, 1e-4, 1e-4, None]
    report = import_funding([rates_file(tmp_path, times, rates)], store)
    file = report.files[0]
    assert (file.rows, file.stored, file.unchanged, file.refused) == (9, 1, 1, 7)
    assert [(refusal.line, refusal.reason[:24]) for refusal in file.refusals] == [
        (3, "2024-01-01 00:00 UTC is "),
        (4, "rate nan is not a number"),
        (5, "rate 1.5 is not a number"),
        (6, "time 5 is outside 2009 t"),
        (7, "time -1 is outside 2009 "),
        (8, "2023-12-31 23:00 UTC is "),
        (9, "rate nan is not a number"),
    ]


def test_importing_twice_changes_nothing_and_differences_stay_out(store: FundingStore, tmp_path: Path) -> None:
    path = rates_file(tmp_path, [START, START + EIGHT], [1e-4, 2e-4])
    import_funding([path], store)
    assert import_funding([path], store).total("unchanged") == 2
    other = rates_file(tmp_path, [START, START + EIGHT], [1e-4, 5e-4])
    report = import_funding([other], store)
    assert (report.total("unchanged"), report.total("different")) == (1, 1)
    assert store.load("okx", "BTC-USDT-SWAP")[1].tolist() == [1e-4, 2e-4]
    assert import_funding([other], store, replace=True).total("replaced") == 1
    assert store.load("okx", "BTC-USDT-SWAP")[1].tolist() == [1e-4, 5e-4]


def test_files_of_something_else_are_errors(store: FundingStore, tmp_path: Path) -> None:
    candles = write_parquet(tmp_path / "binance/BTCUSDT.parquet", {"timestamp": [START], "open": [1.0]})
    broken = tmp_path / "binance/X.parquet"
    broken.write_bytes(b"not it")
    good = rates_file(tmp_path, [START], [1e-4])
    report = import_funding([candles, broken, good], store)
    assert [str(file.error)[:18] for file in report.files] == ["no column funding_", "not a readable Par", "None"]
    assert report.total("stored") == 1


def test_merge_refuses_absurd_rates(store: FundingStore) -> None:
    for rate in (1.01, float("nan"), float("-inf")):
        with pytest.raises(BadData):
            store.merge("okx", "X", np.array([START]), np.array([rate]))
    assert store.list() == []


def test_another_process_sees_changes_at_once(store: FundingStore) -> None:
    other = FundingStore(store.root)
    store.merge("binance", "龙虾/USDT", np.array([START]), np.array([1e-4]))
    assert [info.symbol for info in other.list()] == ["龙虾/USDT"]
    assert other.delete("binance", "龙虾/USDT")
    assert store.list() == []


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 59_999)), max_size=30))
def test_rounding_keeps_one_rate_for_each_minute(
    tmp_path_factory: pytest.TempPathFactory, stamps: list[tuple[int, int]]
) -> None:
    times = sorted(START + minute * 60_000 + late for minute, late in stamps)
    path = rates_file(tmp_path_factory.mktemp("rates"), list(times), [1e-4] * len(times))
    if not times:
        return
    found = read_funding(path)
    assert found.times.tolist() == sorted({time // 60_000 * 60_000 for time in times})
    assert len(found.times) + found.repeated == found.rows == len(times)


def test_all_real_files_agree_with_their_manifest(store: FundingStore, shared_data: Path) -> None:
    first = import_funding([shared_data / "funding"], store)
    assert (first.errors, first.total("refused"), first.total("different")) == ((), 0, 0)
    second = import_funding([shared_data / "funding"], store)
    assert second.total("unchanged") == first.total("stored") == first.total("rows")
    with (shared_data / "MANIFEST.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("funding/")]
    expected = {(row["venue"], Path(row["path"]).stem): int(float(row["rows"])) for row in rows}
    assert {(info.venue, info.symbol): info.rows for info in store.list()} == expected
    for info in store.list():
        assert (store.load(info.venue, info.symbol)[0] % 60_000 == 0).all()
