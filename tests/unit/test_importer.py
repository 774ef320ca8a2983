"""Import of candle files: every good row is stored, every other row is named."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.errors import InvalidValue, Misconfigured
from domain.market import SeriesKey
from store import dump_parser, importer
from store.bar_checks import Refusals, check_bars
from store.candles import CandleStore
from store.dump_parser import parse_csv
from store.funding import FundingStore
from store.import_report import ImportReport, Progress
from store.importer import import_paths
from store.series_names import NameParts
from store.uploads import safe_path, sweep_uploads, unpacked_uploads
from tests.candle_files import (
    HEADER,
    HOUR,
    START,
    bars_at,
    dump_row,
    hour,
    open_store,
    same,
    write_csv,
    write_parquet,
    write_zip,
)

KEY = SeriesKey("binance", "spot", "BTCUSDT", "1h")
NAME = "binance/spot/BTCUSDT-1h-2024-01.csv"
GOOD = [dump_row(hour(i)) for i in range(5)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CandleStore]:
    with open_store(tmp_path / "data") as opened:
        yield opened


def counts(report: ImportReport) -> dict[str, int]:
    names = ("rows", "stored", "unchanged", "different", "replaced", "refused")
    for file in report.files:
        assert file.rows == file.stored + file.unchanged + file.different + file.replaced + file.refused
    return {name: report.total(name) for name in names if report.total(name)}


def only_error(report: ImportReport) -> str:
    assert len(report.errors) == 1
    assert report.errors[0].error is not None
    return report.errors[0].error


# -- forms of files -----------------------------------------------------------------------


def test_a_spot_dump_in_milliseconds(store: CandleStore, tmp_path: Path) -> None:
    report = import_paths([write_csv(tmp_path / NAME, GOOD)], store)
    assert counts(report) == {"rows": 5, "stored": 5}
    assert [str(info.key) for info in report.series] == ["binance/spot/BTCUSDT/1h"]
    assert store.load(KEY).candle(2).time == hour(2)
    assert store.load(KEY).high.tolist() == [110.0] * 5


def test_a_dump_in_microseconds(store: CandleStore, tmp_path: Path) -> None:
    rows = [dump_row(hour(i) * 1000) for i in range(5)]
    import_paths([write_csv(tmp_path / NAME, rows)], store)
    assert store.load(KEY).time.tolist() == [hour(i) for i in range(5)]


def test_a_header_tells_a_futures_dump(store: CandleStore, tmp_path: Path) -> None:
    with_header = write_csv(tmp_path / "a/BTCUSDT-1h-2024-01.csv", GOOD, HEADER)
    without = write_csv(tmp_path / "b/ETHUSDT-1h-2024-01.csv", GOOD)
    import_paths([with_header, without], store)
    assert [str(info.key) for info in store.list()] == ["binance/perp/BTCUSDT/1h", "binance/spot/ETHUSDT/1h"]


def test_the_folder_counts_before_the_header(store: CandleStore, tmp_path: Path) -> None:
    # Binance's futures dumps of 2020 and 2021 have no header.
    import_paths([write_csv(tmp_path / "um/BTCUSDT-1h-2020-01.csv", GOOD)], store)
    assert [info.key.market for info in store.list()] == ["perp"]


def test_a_table_with_a_header(store: CandleStore, tmp_path: Path) -> None:
    rows = [f"{hour(i)},100,110,90,105,7,2024-01-01" for i in range(3)]
    path = write_csv(
        tmp_path / "binance_um_币安人生_USDT_1h.csv", rows, "timestamp,open,high,low,close,volume,datetime"
    )
    import_paths([path], store)
    assert [str(info.key) for info in store.list()] == ["binance/perp/币安人生_USDT/1h"]
    assert store.load(SeriesKey("binance", "perp", "币安人生_USDT", "1h")).volume.tolist() == [7.0] * 3


def test_columns_are_found_by_their_names(store: CandleStore, tmp_path: Path) -> None:
    rows = [f"105,90,7,110,100,{hour(i)}" for i in range(3)]
    path = write_csv(tmp_path / "okx_swap_BTC-USDT-SWAP_1h.csv", rows, '"Close",Low,Volume,HIGH,Open,Open time')
    import_paths([path], store)
    candle = store.load(SeriesKey("okx", "perp", "BTC-USDT-SWAP", "1h")).candle(0)
    assert (candle.time, candle.open, candle.high, candle.low, candle.close, candle.volume) == (
        START, 100.0, 110.0, 90.0, 105.0, 7.0,
    )  # fmt: skip


def test_windows_lines_a_byte_order_mark_and_blank_lines(store: CandleStore, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*GOOD[:2], "", *GOOD[2:], "", ""]).encode())
    assert counts(import_paths([path], store)) == {"rows": 5, "stored": 5}


def test_a_zip_with_several_members(store: CandleStore, tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "spot/all.zip",
        {
            "BTCUSDT-1h-2024-02.csv": "\n".join(dump_row(hour(i)) for i in range(5, 8)),
            "BTCUSDT-1h-2024-01.csv": "\n".join(GOOD),
            "notes/readme.txt": "not candles",
            "ETHUSDT-1h-2024-01.csv": "\n".join(GOOD),
        },
    )
    report = import_paths([path], store)
    assert counts(report) == {"rows": 13, "stored": 13}
    assert [file.path.rpartition(":")[2] for file in report.files] == [
        "BTCUSDT-1h-2024-01.csv",
        "BTCUSDT-1h-2024-02.csv",
        "ETHUSDT-1h-2024-01.csv",
    ]
    assert [(info.key.symbol, info.rows) for info in store.list()] == [("BTCUSDT", 8), ("ETHUSDT", 5)]


@pytest.mark.parametrize(
    "name", ["spot-klines-BTCUSDT-1h-2024-10-28.zip", "futures-um-klines-BTCUSDT-1h-2024-10-28.zip"]
)
def test_the_name_of_an_original_zip_tells_the_market(store: CandleStore, tmp_path: Path, name: str) -> None:
    import_paths([write_zip(tmp_path / name, {"BTCUSDT-1h-2024-10-28.csv": "\n".join(GOOD)})], store)
    assert [info.key.market for info in store.list()] == ["spot" if name.startswith("spot") else "perp"]


def test_parquet_marks_go_apart_from_trades(store: CandleStore, tmp_path: Path) -> None:
    bars = bars_at(range(4))
    names = ("timestamp", "open", "high", "low", "close", "volume")
    columns: dict[str, object] = dict(zip(names, bars.columns(), strict=True))
    for name in ("1h", "1h-mark"):
        write_parquet(tmp_path / f"binance/um/BTCUSDT/{name}.parquet", columns)
    write_parquet(tmp_path / "okx/swap/BTC-USDT-SWAP/1h_derived-from-5m.parquet", columns)
    report = import_paths([tmp_path], store)
    assert counts(report) == {"rows": 12, "stored": 12}
    assert [str(info.key) for info in store.list()] == [
        "binance/perp/BTCUSDT/1h",
        "binance/perp-mark/BTCUSDT/1h",
        "okx/perp/BTC-USDT-SWAP/1h",
    ]
    assert same(store.load(SeriesKey("binance", "perp-mark", "BTCUSDT", "1h")), bars)


def test_parquet_with_typed_times_and_nulls(store: CandleStore, tmp_path: Path) -> None:
    import pyarrow as pa

    path = write_parquet(
        tmp_path / "binance/spot/BTCUSDT/1h.parquet",
        {
            "timestamp": pa.array([hour(0) * 1000, hour(1) * 1000, None], pa.timestamp("us", tz="UTC")),
            "open": pa.array([100, 100, 100], pa.int32()),
            "high": pa.array([110.0, None, 110.0]),
            "low": pa.array([90.0] * 3),
            "close": pa.array([105.0] * 3, pa.float32()),
            "volume": pa.array([1.0] * 3),
            "extra": pa.array(["x"] * 3),
        },
    )
    report = import_paths([path], store)
    assert counts(report) == {"rows": 3, "stored": 1, "refused": 2}
    assert [(r.line, r.reason.split(";")[0]) for r in report.files[0].refusals] == [
        (2, "a value is not a finite number"),
        (3, "time -1 is outside 2009 to 2100"),
    ]


# -- refused rows -------------------------------------------------------------------------

REFUSED = {
    "high below low": (dump_row(hour(2), (100, 90, 110, 105)), "high 90.0 is below low 110.0"),
    "open above high": (dump_row(hour(2), (111, 110, 90, 105)), "open 111.0 is outside low 90.0 to high 110.0"),
    "close below low": (dump_row(hour(2), (100, 110, 90, 89)), "close 89.0 is outside low 90.0 to high 110.0"),
    "negative price": (dump_row(hour(2), (100, 110, -90, 105)), "a price is zero or negative"),
    "zero price": (dump_row(hour(2), (0, 110, 0, 105)), "a price is zero or negative"),
    "negative volume": (dump_row(hour(2), volume=-1), "volume -1.0 is negative"),
    "not finite": (dump_row(hour(2), ("nan", 110, 90, 105)), "a value is not a finite number"),
    "infinite": (dump_row(hour(2), (100, "inf", 90, 105)), "a value is not a finite number"),
    "infinite volume": (dump_row(hour(2), volume="1e999"), "a value is not a finite number"),
    "no number": (dump_row(hour(2), (100, "11O", 90, 105)), "high '11O' is not a number"),
    "empty": (dump_row(hour(2), (100, 110, 90, "")), "close '' is not a number"),
    "underscored": (dump_row(hour(2), (100, 110, 90, "1_05")), "close '1_05' is not a number"),
    "other digits": (dump_row(hour(2), (100, 110, 90, "١٠٥")), "close '١٠٥' is not a number"),
    "time no number": (dump_row(hour(2)).replace(str(hour(2)), "2024-01-01", 1), "time '2024-01-01' is not"),
    "time a fraction": (dump_row(hour(2)).replace(str(hour(2)), f"{hour(2)}.0", 1), f"time '{hour(2)}.0' is not"),
    "too narrow": ("1,2,3", "3 columns where 12 belong"),
    "too wide": (dump_row(hour(2)) + ",9", "13 columns where 12 belong"),
    "seconds": (dump_row(hour(2) // 1000), "is outside 2009 to 2100"),
    "before Bitcoin": (dump_row(0), "time 0 is outside 2009 to 2100"),
    "negative time": (dump_row(-HOUR), "is outside 2009 to 2100"),
    "unaligned": (dump_row(hour(2) + 60_000), "2024-01-01 02:01 UTC is not the open of a bar of this interval"),
    "not closed": (dump_row(hour(9)), "the bar of 2024-01-01 09:00 UTC has not closed yet"),
    "contradiction": (dump_row(hour(1), volume=6), "2024-01-01 01:00 UTC is in line 2 already, with other values"),
    "out of order": (dump_row(hour(-1)), "2023-12-31 23:00 UTC is out of order"),
}  # fmt: skip


@pytest.mark.parametrize("header", [None, HEADER], ids=["headless", "header"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_row_is_refused_by_its_line_and_the_rest_is_kept(
    store: CandleStore, tmp_path: Path, case: str, header: str | None
) -> None:
    row, reason = REFUSED[case]
    rows = [*GOOD[:2], row, *GOOD[2:]]
    path = write_csv(tmp_path / NAME, rows, header)
    report = import_paths([path], store, now_ms=hour(9) + HOUR - 1)
    assert counts(report) == {"rows": 6, "stored": 5, "refused": 1}
    refusal = report.files[0].refusals[0]
    shift = 1 if header else 0
    assert refusal.line == 3 + shift
    assert reason.replace("line 2", f"line {2 + shift}") in refusal.reason
    assert store.load(KEY).time.tolist() == [hour(i) for i in range(5)]


def test_a_bar_that_has_just_closed_is_stored(store: CandleStore, tmp_path: Path) -> None:
    path = write_csv(tmp_path / NAME, GOOD)
    assert counts(import_paths([path], store, now_ms=hour(5))) == {"rows": 5, "stored": 5}


def test_a_row_said_twice_alike_is_no_fault(store: CandleStore, tmp_path: Path) -> None:
    path = write_csv(tmp_path / NAME, [*GOOD[:3], GOOD[1], *GOOD[2:]])
    assert counts(import_paths([path], store)) == {"rows": 7, "stored": 5, "unchanged": 2}


def test_a_wild_time_costs_itself_alone(store: CandleStore, tmp_path: Path) -> None:
    path = write_csv(tmp_path / NAME, [GOOD[0], dump_row(hour(5000)), *GOOD[1:]])
    report = import_paths([path], store)
    assert counts(report) == {"rows": 6, "stored": 5, "refused": 1}
    assert report.files[0].refusals[0].line == 2


def test_of_two_exchanged_rows_the_later_line_is_refused(store: CandleStore, tmp_path: Path) -> None:
    path = write_csv(tmp_path / NAME, [GOOD[0], GOOD[1], GOOD[3], GOOD[2], GOOD[4]])
    report = import_paths([path], store)
    assert [r.line for r in report.files[0].refusals] == [4]


def test_a_million_bad_rows_are_counted_and_the_first_named() -> None:
    bars = bars_at(range(200_000))
    bars.high[:] = 1.0
    refusals = Refusals()
    checked = check_bars(bars, np.arange(1, 200_001), HOUR, refusals)
    assert len(checked.bars) == 0
    assert refusals.count == 200_000
    assert [r.line for r in refusals.first()] == list(range(1, 1001))


@pytest.mark.parametrize(
    ("step", "good", "bad"),
    [
        (7 * 24 * HOUR, START, START + 24 * HOUR),  # 2024-01-01 was a Monday
        (24 * HOUR, START, START + HOUR),
        (3 * 24 * HOUR, START + 24 * HOUR, START + HOUR),
        (4 * HOUR, START + 4 * HOUR, START + 2 * HOUR),
    ],
)
def test_bars_open_with_their_interval(step: int, good: int, bad: int) -> None:
    for time, expected in ((good, 1), (bad, 0)):
        checked = check_bars(bars_at([0], start=time), np.array([1]), step, Refusals())
        assert len(checked.bars) == expected


# -- what is stored stays -----------------------------------------------------------------


def test_importing_twice_changes_nothing(store: CandleStore, tmp_path: Path) -> None:
    path = write_csv(tmp_path / NAME, GOOD)
    import_paths([path], store)
    before = store.load(KEY).sha256()
    assert counts(import_paths([path], store)) == {"rows": 5, "unchanged": 5}
    assert store.load(KEY).sha256() == before


def test_a_difference_is_reported_and_replaced_only_when_asked(store: CandleStore, tmp_path: Path) -> None:
    first = write_csv(tmp_path / NAME, GOOD)
    second = write_csv(tmp_path / "spot/BTCUSDT-1h-2024-01-01.csv", [dump_row(hour(1), volume=6), GOOD[2]])
    report = import_paths([first, second], store)
    assert counts(report) == {"rows": 7, "stored": 5, "unchanged": 1, "different": 1}
    difference = report.files[1].differences[0]
    assert (difference.stored.volume, difference.given.volume) == (5.0, 6.0)
    assert store.load(KEY).volume.tolist() == [5.0] * 5

    assert counts(import_paths([second], store, replace=True)) == {"rows": 2, "unchanged": 1, "replaced": 1}
    assert store.load(KEY).volume.tolist() == [5.0, 6.0, 5.0, 5.0, 5.0]


def test_files_of_one_series_are_written_together(
    store: CandleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand daily dumps must not rewrite the whole series a thousand times."""
    for day in range(20):
        write_csv(tmp_path / f"spot/BTCUSDT-1h-2024-01-{day + 1:02}.csv", [dump_row(hour(24 * day))])
    saves = []
    original = CandleStore._save
    monkeypatch.setattr(CandleStore, "_save", lambda self, *args: (saves.append(args), original(self, *args)))
    report = import_paths([tmp_path], store)
    assert counts(report) == {"rows": 20, "stored": 20}
    assert len(saves) == 1
    monkeypatch.setattr(importer, "FLUSH_ROWS", 5)
    import_paths([tmp_path], store, replace=True, overrides=NameParts(symbol="ETHUSDT"))
    assert len(saves) == 5


# -- names --------------------------------------------------------------------------------


def test_options_count_before_the_path(store: CandleStore, tmp_path: Path) -> None:
    path = write_csv(tmp_path / NAME, GOOD)
    import_paths([path], store, overrides=NameParts(venue="okx", market="swap", symbol="X", interval="1h"))
    assert [str(info.key) for info in store.list()] == ["okx/perp/X/1h"]


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        (NameParts(market="cash"), "market"),
        (NameParts(interval="7m"), "interval"),
        (NameParts(venue="../x"), "venue"),
    ],
)
def test_senseless_options_stop_the_import(
    store: CandleStore, tmp_path: Path, overrides: NameParts, field: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        import_paths([write_csv(tmp_path / NAME, GOOD)], store, overrides=overrides)
    assert caught.value.field == field


def test_what_the_path_does_not_tell_is_asked_for(store: CandleStore, tmp_path: Path) -> None:
    rows = [f"{hour(i)},100,110,90,105,7" for i in range(3)]
    path = write_csv(tmp_path / "prices.csv", rows, "timestamp,open,high,low,close,volume")
    assert "--venue, --market, --symbol, --interval" in only_error(import_paths([path], store))
    import_paths([path], store, overrides=NameParts("kraken", "spot", "XBTUSD", "1h"))
    assert [info.rows for info in store.list()] == [3]


# -- files that cannot be read ------------------------------------------------------------


def test_one_unreadable_file_does_not_stop_the_others(store: CandleStore, tmp_path: Path) -> None:
    good = write_csv(tmp_path / NAME, GOOD)
    names = ("spot/BTCUSDT-1h-2024-02.zip", "binance/spot/BTCUSDT/1h.parquet", "x.txt")
    bad = [write_csv(tmp_path / name, ["not it"]) for name in names]
    report = import_paths([*bad, tmp_path / "absent.csv", good], store)
    assert counts(report) == {"rows": 5, "stored": 5}
    reasons = [str(file.error) for file in report.errors]
    assert [reason.split(":")[0] for reason in reasons] == [
        "not a readable zip",
        "not a readable Parquet file",
        "only .csv, .zip, .parquet files are read",
        "No such file or directory",
    ]


def test_an_encrypted_or_damaged_zip_is_an_error(store: CandleStore, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "spot/BTCUSDT-1h-2024-01.zip", {"BTCUSDT-1h-2024-01.csv": "\n".join(GOOD * 50)})
    data = bytearray(path.read_bytes())
    flags = data.find(b"PK\x03\x04") + 6
    encrypted = bytearray(data)
    encrypted[flags] |= 1
    central = encrypted.find(b"PK\x01\x02") + 8
    encrypted[central] |= 1
    path.write_bytes(encrypted)
    assert "not a readable zip" in only_error(import_paths([path], store))
    data[60:70] = b"\x00" * 10
    path.write_bytes(data)
    assert "not a readable zip" in only_error(import_paths([path], store))
    assert store.list() == []


def test_a_zip_bomb_is_not_unpacked(store: CandleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "MAX_TEXT_BYTES", 100_000)
    path = write_zip(tmp_path / "spot/BTCUSDT-1h-2024-01.zip", {"BTCUSDT-1h-2024-01.csv": "0" * 5_000_000})
    assert "unpacks to more than 100,000 bytes" in only_error(import_paths([path], store))
    big = write_csv(tmp_path / NAME, ["0" * 100_001])
    assert "larger than 100,000 bytes" in only_error(import_paths([big], store))


def test_a_parquet_bomb_is_not_unpacked(store: CandleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump_parser, "MAX_ROWS", 3)
    names = ("timestamp", "open", "high", "low", "close", "volume")
    columns: dict[str, object] = dict(zip(names, bars_at(range(4)).columns(), strict=True))
    path = write_parquet(tmp_path / "binance/spot/BTCUSDT/1h.parquet", columns)
    assert "4 rows in one file" in only_error(import_paths([path], store))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("futures/um/monthly/indexPriceKlines/BTCUSDT/1h/BTCUSDT-1h-2024-01.csv", "index prices"),
        ("futures/um/monthly/premiumIndexKlines/BTCUSDT/1h/BTCUSDT-1h-2024-01.csv", "premium indexes"),
        ("futures/cm/monthly/klines/BTCUSD_PERP/1h/BTCUSD_PERP-1h-2024-01.csv", "coin-margined"),
        ("spot/BTCUSDT-1M-2024-01.csv", "unknown interval '1M'"),
        ("spot/BTCUSDT-1s-2024-01.csv", "unknown interval '1s'"),
    ],
)
def test_files_of_something_else_are_errors(store: CandleStore, tmp_path: Path, name: str, reason: str) -> None:
    assert reason in only_error(import_paths([write_csv(tmp_path / name, GOOD)], store))


def test_headers_without_prices_are_errors(store: CandleStore, tmp_path: Path) -> None:
    path = write_csv(tmp_path / NAME, GOOD, "timestamp,open,high,low")
    assert only_error(import_paths([path], store)) == "line 1: the header lacks close, volume"
    path = write_parquet(tmp_path / "binance/spot/BTCUSDT/1h.parquet", {"timestamp": [hour(0)], "rate": [0.1]})
    assert "no column open, high, low, close, volume" in only_error(import_paths([path], store))
    path = write_parquet(
        tmp_path / "binance/spot/BTCUSDT/1h.parquet",
        {name: ["x"] for name in ("timestamp", "open", "high", "low", "close", "volume")},
    )
    assert "column timestamp is string" in only_error(import_paths([path], store))


def test_a_full_disk_ends_the_import_instead_of_lying(
    store: CandleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path / NAME, GOOD)

    def full(*_file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("store.candles.save_columns", full)
    with pytest.raises(Misconfigured, match="No space left"):
        import_paths([path], store)


def test_an_empty_file_has_no_rows(store: CandleStore, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    report = import_paths([path], store)
    assert (counts(report), report.errors, store.list()) == ({}, (), [])


# -- the rest -----------------------------------------------------------------------------


def test_progress_counts_bytes_up_to_all(store: CandleStore, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_csv(tmp_path / f"spot/{name}USDT-1h-2024-01.csv", GOOD)
    seen: list[Progress] = []
    import_paths([tmp_path], store, progress=seen.append)
    assert [Path(p.path).name for p in seen] == ["aUSDT-1h-2024-01.csv", "bUSDT-1h-2024-01.csv", ""]
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == seen[-1].total > 0


def test_funding_files_go_to_their_own_store(store: CandleStore, tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "funding/binance/BTCUSDT.parquet",
        {"timestamp": [START, START + 8 * HOUR], "funding_rate": [1e-4, 2e-4]},
    )
    funding = FundingStore(tmp_path / "rates")
    report = import_paths([path], store, funding)
    assert [(file.kind, file.series, file.stored) for file in report.files] == [("funding", "binance/BTCUSDT", 2)]
    assert "no column open" in only_error(import_paths([path], store))


CELL = st.one_of(
    st.floats(0.5, 1e6).map(repr),
    st.sampled_from(["", "x", "nan", "-1", "1e3", " 5 ", "1,2", '"7"', "0x10", "+3.5", "5.", ".5", "1_0", "\t1"]),
)


@given(st.lists(st.lists(CELL, min_size=5, max_size=5), max_size=8), st.booleans())
def test_both_ways_of_parsing_agree(rows: list[list[str]], with_header: bool) -> None:
    """Whole columns at once where all is well, else line by line: never two opinions about a number."""
    lines = [dump_row(hour(i), cells[:4], cells[4]) for i, cells in enumerate(rows)]
    data = "\n".join([*([HEADER] if with_header else []), *lines]).encode()
    layout = dump_parser._layout(data)
    quick, slow = dump_parser._parse_quickly(data, layout), dump_parser._parse_line_by_line(data, layout)
    if quick is not None and not slow.refusals:
        assert same(quick.bars, slow.bars)
        assert quick.lines.tolist() == slow.lines.tolist()
    if quick is not None and slow.refusals:
        # Only what the checks refuse anyway may pass the quick way: nan and the like.
        assert not np.isfinite(
            np.array(quick.bars.columns()[1:])[:, [r.line - 1 - with_header for r in slow.refusals]]
        ).all()


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    try:
        parsed = parse_csv(data)
    except importer.CurlewError:
        return
    assert parsed.rows == len(parsed.bars) + len(parsed.refusals)


# -- the real files -----------------------------------------------------------------------


def test_all_real_files_agree_with_their_manifest(store: CandleStore, shared_data: Path) -> None:
    paths = [shared_data / "candles", shared_data / "binance_dumps"]
    first = import_paths(paths, store)
    assert first.errors == ()
    assert first.total("refused") == 0
    hashes = {info.key: store.load(info.key).sha256() for info in store.list()}
    second = import_paths(paths, store)
    assert second.total("stored") == second.total("replaced") == 0
    assert {info.key: store.load(info.key).sha256() for info in store.list()} == hashes

    stored = {str(info.key): (info.rows, info.gaps) for info in store.list()}
    expected = manifest_of_candles(shared_data)
    # The one dump of a series that no Parquet file holds.
    assert stored.pop("binance/spot/ADABTC/1m") == (10, 0)
    assert stored == expected
    assert {f.path.rpartition("/")[2]: f.gaps for f in first.files if f.gaps}.keys() == {"1h.parquet", "4h.parquet"}


def manifest_of_candles(shared_data: Path) -> dict[str, tuple[int, int]]:
    markets = {"um": "perp", "swap": "perp"}
    with (shared_data / "MANIFEST.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("candles/")]
    expected = {}
    for row in rows:
        market = markets.get(row["market"], row["market"]) + ("-mark" if row["kind"] == "candles-mark" else "")
        name = f"{row['venue']}/{market}/{row['symbol']}/{row['interval']}"
        expected[name] = (int(float(row["rows"])), int(float(row["gaps"])))
    assert len(expected) == len(rows) > 60
    return expected


def test_real_dumps_say_what_the_real_parquet_says(store: CandleStore, shared_data: Path) -> None:
    """Milliseconds, microseconds, header and none: the same bars by two ways."""
    dumps = import_paths([shared_data / "binance_dumps"], store)
    assert dumps.errors == ()
    report = import_paths([shared_data / "candles/binance"], store)
    different = {file.series: file.different for file in report.files if file.different}
    # Binance was out of order at 20:00 and 21:00 of 2024-10-28: the daily dump of the time has it flat.
    assert different == {"binance/perp/BTCUSDT/1h": 2}


def test_real_files_with_chinese_symbols(store: CandleStore, shared_data: Path) -> None:
    report = import_paths([shared_data / "specimens"], store)
    assert report.errors == ()
    assert {info.key.symbol for info in store.list()} >= {"币安人生_USDT", "龙虾_USDT"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.csv", "a.csv"),
        ("binance\\um\\BTCUSDT\\1h.parquet", "binance/um/BTCUSDT/1h.parquet"),
        ("/etc/./passwd", "etc/passwd"),
        ("C:\\x.csv", "C:/x.csv"),
    ],
)
def test_uploaded_names_become_relative_paths(name: str, path: str) -> None:
    assert str(safe_path(name)) == path


@pytest.mark.parametrize("name", ["", "/", "..", "a/../b", "..\\b", "a\x00b", "x" * 201, "/".join("abcdefghi")])
def test_uploaded_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(InvalidValue):
        safe_path(name)


ROW = st.tuples(
    st.integers(0, 8),  # hour
    st.sampled_from([100.0, 100.0, 100.0, 101.0]),  # two opinions about an hour
    st.sampled_from(["", "", "", "", "", "", "high", "volume", "time"]),  # what is wrong with it
)


@given(st.lists(ROW, max_size=25))
@example([(1, 100.0, ""), (2, 100.0, ""), (3, 100.0, ""), *[(0, 100.0, "")] * 4])
def test_every_row_is_kept_repeated_or_refused(rows: list[tuple[int, float, str]]) -> None:
    """Against an account by hand; and no fewer rows are kept than by taking whatever is newer than the last."""
    bars = bars_at([place for place, _, _ in rows])
    for i, (_, price, fault) in enumerate(rows):
        bars.open[i], bars.close[i], bars.high[i], bars.low[i] = price, price, price + 1, price - 1
        bars.volume[i] = 5.0
        if fault == "high":
            bars.high[i] = price - 5
        elif fault == "volume":
            bars.volume[i] = -1.0
        elif fault == "time":
            bars.time[i] += 1
    lines = np.arange(1, len(rows) + 1)
    refusals = Refusals()
    checked = check_bars(bars, lines, HOUR, refusals)
    assert len(checked.bars) + checked.repeated + refusals.count == len(rows)
    refused = {r.line for r in refusals.first()}
    assert len(refused) == refusals.count
    assert {i + 1 for i, row in enumerate(rows) if row[2]} <= refused
    assert (np.diff(checked.bars.time) > 0).all()
    first_price: dict[int, float] = {}
    newest, greedy = -1, 0
    for place, price, fault in rows:
        if not fault and first_price.setdefault(place, price) == price and place > newest:
            newest, greedy = place, greedy + 1
    kept = dict(zip(((checked.bars.time - START) // HOUR).tolist(), checked.bars.open.tolist(), strict=True))
    assert kept == {place: first_price[place] for place in kept}
    assert len(kept) >= greedy


def test_what_a_killed_upload_left_is_swept_and_one_in_progress_is_not(tmp_path: Path) -> None:
    assert sweep_uploads(tmp_path / "uploads") == 0
    with unpacked_uploads(tmp_path / "uploads", [("a.csv", io.BytesIO(b"1"))]) as (base, paths):
        left = tmp_path / "uploads" / "upload-killed" / "binance"
        left.mkdir(parents=True)
        (left / "half.csv").write_bytes(b"1,2")
        assert sweep_uploads(tmp_path / "uploads") == 1
        assert [path.read_bytes() for path in paths] == [b"1"]
        assert list((tmp_path / "uploads").iterdir()) == [base]
    assert list((tmp_path / "uploads").iterdir()) == []
