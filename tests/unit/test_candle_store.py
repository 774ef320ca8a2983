"""CandleStore: what goes in comes out, whoever else is at it."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import BadData, InvalidValue
from domain.market import Bars, SeriesKey
from store import candles as candles_module
from store.candles import CandleStore, SeriesInfo
from store.series_edit import SeriesEdit, join
from store.series_file import decode_name, encode_name
from tests.candle_files import HOUR, START, bars_at, open_store, same

ROOT = Path(__file__).resolve().parents[2]
KEY = SeriesKey("binance", "spot", "BTCUSDT", "1h")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CandleStore]:
    with open_store(tmp_path) as opened:
        yield opened


# -- merge, load, list --------------------------------------------------------------------


def test_what_is_merged_is_loaded(store: CandleStore) -> None:
    given_bars = bars_at(range(10))
    assert store.merge(KEY, given_bars).stored == 10
    assert same(store.load(KEY), given_bars)
    assert store.info(KEY) == SeriesInfo(KEY, 10, START, START + 9 * HOUR, 0)
    assert store.list() == [store.info(KEY)]


def test_nothing_is_stored_under_an_unknown_name(store: CandleStore) -> None:
    assert len(store.load(KEY)) == 0
    assert store.info(KEY) is None
    assert store.list() == []
    assert store.gaps(KEY) == []
    assert not store.delete(KEY)


def test_load_takes_the_start_and_leaves_the_end(store: CandleStore) -> None:
    store.merge(KEY, bars_at(range(10)))
    part = store.load(KEY, START + 2 * HOUR, START + 5 * HOUR)
    assert part.time.tolist() == [START + i * HOUR for i in (2, 3, 4)]
    assert len(store.load(KEY, START + HOUR + 1, START + 2 * HOUR)) == 0
    assert len(store.load(KEY, START + 5 * HOUR, START)) == 0


def test_loaded_arrays_are_views_that_cannot_be_written(store: CandleStore) -> None:
    store.merge(KEY, bars_at(range(10)))
    loaded = store.load(KEY, START + HOUR)
    assert not loaded.close.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        loaded.close[0] = 1.0


def test_other_values_stay_out_unless_asked_for(store: CandleStore) -> None:
    store.merge(KEY, bars_at(range(4)))
    other = bars_at([1, 2, 7], price=500.0)
    result = store.merge(KEY, other)
    assert (result.stored, result.unchanged, result.different, result.replaced) == (1, 0, 2, 0)
    assert [d.stored.open for d in result.differences] == [101.0, 102.0]
    assert [d.given.open for d in result.differences] == [501.0, 502.0]
    assert store.load(KEY).open.tolist() == [100.0, 101.0, 102.0, 103.0, 507.0]

    result = store.merge(KEY, other, replace=True)
    assert (result.stored, result.unchanged, result.different, result.replaced) == (0, 1, 0, 2)
    assert store.load(KEY).open.tolist() == [100.0, 501.0, 502.0, 103.0, 507.0]


def test_merging_again_writes_nothing(store: CandleStore) -> None:
    store.merge(KEY, bars_at(range(5)))
    file = store.root / "binance/spot/BTCUSDT/1h.arrow"
    before = file.stat()
    result = store.merge(KEY, bars_at(range(5)))
    assert (result.stored, result.unchanged) == (0, 5)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("places", [[1, 0], [0, 0], [0, 2, 1]])
def test_bars_out_of_order_are_refused(store: CandleStore, places: list[int]) -> None:
    with pytest.raises(BadData):
        store.merge(KEY, bars_at(places))
    with pytest.raises(BadData):
        store.append(KEY, bars_at(places))
    assert store.list() == []


def test_gaps_are_places_not_bars(store: CandleStore) -> None:
    store.merge(KEY, bars_at([0, 1, 5, 6, 8]))
    info = store.info(KEY)
    assert info is not None
    assert info.gaps == 2
    assert store.gaps(KEY) == [(START + 2 * HOUR, START + 5 * HOUR), (START + 7 * HOUR, START + 8 * HOUR)]


def test_delete_forgets_file_and_tail(store: CandleStore) -> None:
    store.merge(KEY, bars_at(range(3)))
    store.append(KEY, bars_at([3]))
    assert store.delete(KEY)
    assert store.info(KEY) is None
    assert store.list() == []


def test_series_differ_in_every_part_of_their_name(store: CandleStore) -> None:
    keys = [
        KEY,
        replace(KEY, venue="okx"),
        replace(KEY, market="perp"),
        replace(KEY, market="perp-mark"),
        replace(KEY, symbol="ETHUSDT"),
        replace(KEY, interval="4h"),
    ]
    for i, key in enumerate(keys):
        store.merge(key, bars_at([0], price=100.0 + i, step=key.step_ms))
    assert [info.key for info in store.list()] == sorted(keys)
    assert [store.load(key).open[0] for key in keys] == [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]


# -- names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "symbol",
    ["币安人生USDT", "../../etc/passwd", "..", ".", "PURR/USDC", "a b", "1000SHIBUSDT", "BTC-USDT-SWAP", "%2F"],
)
def test_any_symbol_is_one_folder_and_comes_back(store: CandleStore, symbol: str) -> None:
    key = replace(KEY, symbol=symbol)
    store.merge(key, bars_at(range(2)))
    assert [info.key for info in store.list()] == [key]
    files = list(store.root.parent.rglob("*.arrow"))
    assert len(files) == 1
    assert len(files[0].relative_to(store.root).parts) == 4


@pytest.mark.parametrize("symbol", ["", " BTC", "a\nb", "\x00", "x" * 61, "\u202e", "\ud800"])
def test_symbols_without_a_name_are_refused(store: CandleStore, symbol: str) -> None:
    with pytest.raises(InvalidValue):
        store.merge(replace(KEY, symbol=symbol), bars_at(range(2)))
    with pytest.raises(InvalidValue):
        store.load(replace(KEY, symbol=symbol))


def test_unknown_markets_and_intervals_are_refused(store: CandleStore) -> None:
    with pytest.raises(InvalidValue, match="market"):
        store.load(replace(KEY, market="futures"))
    with pytest.raises(InvalidValue, match="interval"):
        store.load(replace(KEY, interval="1M"))


@given(st.text(min_size=1, max_size=60))
def test_names_are_reversible_and_safe(text: str) -> None:
    try:
        name = encode_name(text, field="symbol")
    except InvalidValue:
        return
    assert decode_name(name) == text
    assert name.isascii()
    assert "/" not in name
    assert "\\" not in name
    assert not name.startswith(".")


# -- the live tail ------------------------------------------------------------------------


def test_tail_and_file_are_one_series(store: CandleStore) -> None:
    store.merge(KEY, bars_at(range(5)))
    store.append(KEY, bars_at([5, 6, 9]))
    assert same(store.load(KEY), bars_at([0, 1, 2, 3, 4, 5, 6, 9]))
    assert same(store.load(KEY, START + 4 * HOUR, START + 7 * HOUR), bars_at([4, 5, 6]))
    info = store.info(KEY)
    assert info is not None
    assert (info.rows, info.gaps) == (8, 1)


def test_a_series_may_be_tail_alone(store: CandleStore) -> None:
    store.append(KEY, bars_at([1, 2]))
    assert [info.rows for info in store.list()] == [2]
    assert same(store.load(KEY), bars_at([1, 2]))
    store.compact(KEY)
    assert same(store.load(KEY), bars_at([1, 2]))


def test_a_bar_appended_twice_counts_once_and_the_first_stays(store: CandleStore) -> None:
    store.merge(KEY, bars_at([0, 1]))
    store.append(KEY, bars_at([1, 2], price=500.0))
    store.append(KEY, bars_at([2, 3], price=900.0))
    assert store.load(KEY).open.tolist() == [100.0, 101.0, 502.0, 903.0]


def test_merge_counts_the_tail_as_stored(store: CandleStore) -> None:
    store.append(KEY, bars_at([1, 2]))
    result = store.merge(KEY, Bars.concat([bars_at([0, 1]), bars_at([2], price=500.0)]))
    assert (result.stored, result.unchanged, result.different) == (1, 1, 1)
    assert same(store.load(KEY), bars_at([0, 1, 2]))


def test_the_tail_goes_into_the_file_when_it_is_long(store: CandleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles_module, "TAIL_ROWS", 10)
    for i in range(25):
        store.append(KEY, bars_at([i]))
    assert same(store.load(KEY), bars_at(range(25)))
    assert store._tail.count(KEY) == 5


def test_a_compaction_cut_off_after_the_file_loses_and_doubles_nothing(
    store: CandleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.merge(KEY, bars_at(range(3)))
    store.append(KEY, bars_at([3, 4]))

    def die(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store._tail, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            store.compact(KEY)
    assert same(store.load(KEY), bars_at(range(5)))
    info = store.info(KEY)
    assert info is not None
    assert info.rows == 5
    store.compact(KEY)
    assert store._tail.count(KEY) == 0
    assert same(store.load(KEY), bars_at(range(5)))


def test_a_write_that_fails_leaves_the_old_series(store: CandleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.merge(KEY, bars_at(range(3)))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("store.series_file.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            store.merge(KEY, bars_at(range(3, 9)))
    assert same(store.load(KEY), bars_at(range(3)))
    assert [path.name for path in (store.root / "binance/spot/BTCUSDT").iterdir()] == ["1h.arrow"]


def test_a_damaged_file_is_named_and_can_be_deleted(store: CandleStore) -> None:
    store.merge(KEY, bars_at(range(3)))
    file = store.root / "binance/spot/BTCUSDT/1h.arrow"
    file.write_bytes(file.read_bytes()[:100])
    other = replace(KEY, symbol="ETHUSDT")
    store.merge(other, bars_at(range(3)))
    with pytest.raises(BadData, match=r"1h\.arrow"):
        store.load(KEY)
    with pytest.raises(BadData, match=r"1h\.arrow"):
        store.merge(KEY, bars_at(range(3)))
    assert [info.key for info in store.list()] == [other]
    assert store.delete(KEY)
    assert store.merge(KEY, bars_at(range(3))).stored == 3


def test_one_appended_bar_costs_under_a_millisecond(store: CandleStore) -> None:
    """In the best of ten batches: the machine may be busy with something else."""
    store.append(KEY, bars_at([0]))
    batches = []
    for first in range(1, 400, 40):
        began = time.perf_counter()
        for i in range(first, min(first + 40, 400)):
            store.append(KEY, bars_at([i]))
        batches.append((time.perf_counter() - began) / 40 * 1000)
    assert min(batches) < 1.0
    assert len(store.load(KEY)) == 400


def test_many_series_are_appended_in_one_transaction(store: CandleStore) -> None:
    keys = [replace(KEY, symbol=f"C{i}") for i in range(50)]
    store.append_many((key, bars_at([0, 1])) for key in keys)
    store.append_many((key, bars_at([1, 2])) for key in keys)
    assert [info.rows for info in store.list()] == [3] * 50


# -- several readers and writers ----------------------------------------------------------


def test_another_store_on_the_same_folder_sees_changes_at_once(tmp_path: Path) -> None:
    with open_store(tmp_path) as first, open_store(tmp_path) as second:
        first.merge(KEY, bars_at(range(3)))
        assert len(second.load(KEY)) == 3
        first.merge(KEY, bars_at(range(3), price=500.0), replace=True)  # a file of the same size
        assert second.load(KEY).open[0] == 500.0
        second.append(KEY, bars_at([3]))
        assert len(first.load(KEY)) == 4
        second.delete(KEY)
        assert first.info(KEY) is None


def test_arrays_outlive_the_file_they_were_read_from(store: CandleStore) -> None:
    store.merge(KEY, bars_at(range(1000)))
    held = store.load(KEY)
    store.merge(KEY, bars_at(range(1000), price=500.0), replace=True)
    store.delete(KEY)
    assert same(held, bars_at(range(1000)))


def test_a_reader_sees_whole_states_while_a_writer_works(tmp_path: Path) -> None:
    """Appends, compactions and merges of an ever longer series: every load is some prefix of it."""
    whole = bars_at(range(3000))
    wrong: list[str] = []
    done = threading.Event()

    def read(reader: CandleStore) -> None:
        longest = 0
        while not done.is_set():
            seen = reader.load(KEY)
            if len(seen) < longest or not same(seen, whole[: len(seen)]):
                wrong.append(f"{len(seen)} bars after {longest}")
                return
            longest = len(seen)

    with open_store(tmp_path) as writer, open_store(tmp_path) as other:
        readers = [threading.Thread(target=read, args=(store,)) for store in (writer, other)]
        for thread in readers:
            thread.start()
        for first in range(0, 3000, 60):
            writer.append(KEY, whole[first : first + 20])
            writer.compact(KEY)
            writer.append(KEY, whole[first + 20 : first + 40])
            writer.merge(KEY, whole[first + 30 : first + 60])
        done.set()
        for thread in readers:
            thread.join(20)
        assert same(writer.load(KEY), whole)
    assert wrong == []


def _append_every_other(folder: Path, first: int) -> None:
    candles_module.TAIL_ROWS = 50
    with open_store(folder) as store:
        for i in range(first, 400, 2):
            store.append(KEY, bars_at([i]))
            if i % 40 == first:
                store.merge(KEY, bars_at([1000 + i]))


def test_two_processes_append_and_merge_without_loss(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        context = multiprocessing.get_context("spawn")
        writers = [context.Process(target=_append_every_other, args=(tmp_path, first)) for first in (0, 1)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        assert [writer.exitcode for writer in writers] == [0, 0]
        expected = [*range(400), *(1000 + i for i in range(400) if i % 40 in (0, 1))]
        assert same(store.load(KEY), bars_at(expected))


def test_compaction_gives_way_to_another_writer(store: CandleStore) -> None:
    store.append(KEY, bars_at([1]))
    with store.edit(KEY) as edit:
        assert not store.compact(KEY, wait=False)
        edit.add(bars_at([0]))
    assert store.compact(KEY, wait=False)
    assert same(store.load(KEY), bars_at([0, 1]))


def test_an_edit_that_raises_changes_nothing(store: CandleStore) -> None:
    store.merge(KEY, bars_at([0]))
    with pytest.raises(BadData), store.edit(KEY) as edit:  # noqa: PT012 - the first addition must go in
        edit.add(bars_at([1]))
        edit.add(bars_at([3, 2]))
    assert same(store.load(KEY), bars_at([0]))


def test_other_tools_open_the_files(store: CandleStore) -> None:
    import pyarrow as pa
    from pyarrow import feather

    store.merge(KEY, bars_at(range(3)))
    table = feather.read_table(store.root / "binance/spot/BTCUSDT/1h.arrow")
    assert table.schema.names == ["timestamp", "open", "high", "low", "close", "volume"]
    assert table.schema.types == [pa.int64(), *[pa.float64()] * 5]
    assert table.column("timestamp").to_pylist() == [START, START + HOUR, START + 2 * HOUR]
    assert table.schema.metadata[b"symbol"] == b"BTCUSDT"


def test_files_of_other_tools_are_read(store: CandleStore) -> None:
    """Several batches, compressed: read as well, only not without a copy."""
    import pyarrow as pa
    from pyarrow import feather

    given_bars = bars_at(range(100))
    names = ["timestamp", "open", "high", "low", "close", "volume"]
    path = store.root / "binance/spot/BTCUSDT/1h.arrow"
    path.parent.mkdir(parents=True)
    table = pa.table(dict(zip(names, given_bars.columns(), strict=True)))
    feather.write_feather(table, str(path), compression="lz4", chunksize=30)
    assert same(store.load(KEY), given_bars)


# -- laws ---------------------------------------------------------------------------------

PLACES = st.sets(st.integers(0, 60), max_size=40).map(sorted)


@given(st.lists(PLACES, max_size=6), PLACES)
def test_merging_is_order_independent_and_idempotent(parts: list[list[int]], stored: list[int]) -> None:
    forwards, backwards = SeriesEdit(bars_at(stored)), SeriesEdit(bars_at(stored))
    for part in parts:
        result = forwards.add(bars_at(part))
        assert result.stored + result.unchanged == len(part)
        again = forwards.add(bars_at(part))
        assert (again.stored, again.unchanged) == (0, len(part))
    for part in reversed(parts):
        backwards.add(bars_at(part))
    union = bars_at(sorted({*stored, *(place for part in parts for place in part)}))
    assert same(forwards.bars(), union)
    assert same(backwards.bars(), union)


@given(PLACES, st.lists(st.tuples(PLACES, st.integers(0, 3)), max_size=6), st.booleans())
def test_an_edit_equals_a_dictionary(stored: list[int], parts: list[tuple[list[int], int]], replace: bool) -> None:
    edit = SeriesEdit(bars_at(stored), replace=replace)
    model = {place: 100.0 + place for place in stored}
    for places, shift in parts:
        given_bars = bars_at(places, price=100.0 + shift)
        expected = {"stored": 0, "unchanged": 0, "odd": 0}
        for place, price in zip(places, given_bars.open.tolist(), strict=True):
            kind = "stored" if place not in model else "unchanged" if model[place] == price else "odd"
            expected[kind] += 1
            if kind == "stored" or replace:
                model[place] = price
        result = edit.add(given_bars)
        odd = result.replaced if replace else result.different
        assert {"stored": result.stored, "unchanged": result.unchanged, "odd": odd} == expected
        assert len(result.differences) == min(expected["odd"], 20)
    bars = edit.bars()
    assert dict(zip(((bars.time - START) // HOUR).tolist(), bars.open.tolist(), strict=True)) == model
    assert (np.diff(bars.time) > 0).all()


@given(PLACES, PLACES)
def test_join_prefers_the_first(first: list[int], second: list[int]) -> None:
    joined = join(bars_at(first), bars_at(second, price=500.0))
    prices = {place: 500.0 + place for place in second} | {place: 100.0 + place for place in first}
    assert joined.open.tolist() == [prices[place] for place in sorted(prices)]


@given(PLACES, st.integers(-2, 62), st.integers(-2, 62))
def test_load_equals_slicing(tmp_path_factory: pytest.TempPathFactory, places: list[int], start: int, end: int) -> None:
    cut = len(places) // 2
    with open_store(tmp_path_factory.mktemp("slices")) as store:
        store.merge(KEY, bars_at(places[:cut]))
        store.append(KEY, bars_at(places[cut:]))
        part = store.load(KEY, START + start * HOUR, START + end * HOUR)
    assert same(part, bars_at([place for place in places if start <= place < end]))


def test_reading_and_importing_do_without_pandas(tmp_path: Path) -> None:
    """It costs every command a second."""
    program = (
        "import sys; from pathlib import Path; from store.importer import import_paths;"
        "from tests.candle_files import *; folder = Path(sys.argv[1]);"
        "names = ('timestamp', 'open', 'high', 'low', 'close', 'volume');"
        "import pyarrow as pa; from pyarrow import parquet; from store.series_file import _to_arrow;"
        "columns = [_to_arrow(column) for column in bars_at(range(9)).columns()];"
        "(folder / 'binance/spot/BTCUSDT').mkdir(parents=True);"
        "parquet.write_table(pa.table(columns, names=names), folder / 'binance/spot/BTCUSDT/1h.parquet');"
        "write_csv(folder / 'spot/ETHUSDT-1h-2024-01.csv', [dump_row(hour(i)) for i in range(9)]);"
        "store = open_store(folder / 'data').__enter__();"
        "report = import_paths([folder], store); assert report.total('stored') == 18, report;"
        "assert len(store.load(store.list()[0].key)) == 9;"
        "assert 'pandas' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
