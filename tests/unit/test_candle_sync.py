"""Fetching candles: what is missing, once, whatever interrupts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import candle_sync
from cli.candle_sync import find_instrument, missing_in, sync_series
from data_aggregator import MarketData
from domain.errors import NoSource, NotFound, Retryable
from domain.market import Bars, SeriesKey
from store.candles import CandleStore
from tests.candle_files import HOUR, START, bars_at, open_store, same
from tests.fakes.clock import FakeClock
from tests.fakes.venue import FakeVenue

HOURS = 500
KEY = SeriesKey("fake", "perp", "BTCUSDT", "1h")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CandleStore]:
    with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START + HOURS * HOUR + 60_000)


@pytest.fixture
def venue(clock: FakeClock) -> FakeVenue:
    venue = FakeVenue("fake", clock)
    venue.bars = bars_at(range(HOURS))
    return venue


@pytest.fixture
def market(venue: FakeVenue, store: CandleStore, clock: FakeClock) -> MarketData:
    return MarketData({"fake": venue}, store, clock, workspace_market="exchanges")


def sync(
    market: MarketData, store: CandleStore, clock: FakeClock, since_ms: int = START
) -> tuple[candle_sync.SyncReport, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    instrument = find_instrument(market, "BTC", None, None)
    report = sync_series(market, store, instrument, "1h", since_ms, clock.now_ms(), lambda *at: seen.append(at))
    return report, seen


def test_all_closed_bars_are_fetched_and_only_once(
    market: MarketData, store: CandleStore, clock: FakeClock, venue: FakeVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candle_sync, "PAGE_BARS", 200)
    report, seen = sync(market, store, clock)
    assert (report.key, report.missing, report.stored, report.refused) == (KEY, HOURS, HOURS, 0)
    assert same(store.load(KEY), bars_at(range(HOURS)))
    assert seen == [(0, 500), (200, 500), (400, 500), (500, 500)]
    asked = venue.calls["candles"]
    report, seen = sync(market, store, clock)
    assert (report.missing, report.stored, seen) == (0, 0, [(0, 0)])
    assert venue.calls["candles"] == asked


def test_only_what_is_missing_is_fetched(market: MarketData, store: CandleStore, clock: FakeClock) -> None:
    store.merge(KEY, bars_at([*range(10, 20), *range(30, 40)], price=5000.0))
    report, _ = sync(market, store, clock, START + 5 * HOUR + 1)
    assert report.missing == HOURS - 6 - 20
    bars = store.load(KEY)
    assert len(bars) == HOURS - 6
    assert bars.open[4] == 5010.0  # what was stored stays


def test_a_source_that_fails_half_way_leaves_what_was_fetched(
    market: MarketData, store: CandleStore, clock: FakeClock, venue: FakeVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candle_sync, "PAGE_BARS", 100)
    instrument = find_instrument(market, "BTC", None, None)

    def fail_after(done: int, _all: int) -> None:
        if done == 300:
            venue.down = Retryable("the line is cut")

    with pytest.raises(NoSource, match="the line is cut"):
        sync_series(market, store, instrument, "1h", START, clock.now_ms(), fail_after)
    assert same(store.load(KEY), bars_at(range(300)))
    venue.down = None
    report, _ = sync(market, store, clock)
    assert (report.missing, report.stored) == (200, 200)


def test_bad_bars_of_a_source_are_not_stored(
    market: MarketData, store: CandleStore, clock: FakeClock, venue: FakeVenue
) -> None:
    venue.bars.high[7] = 1.0
    report, _ = sync(market, store, clock)
    assert (report.stored, report.refused) == (HOURS - 1, 1)


def test_a_gap_of_the_source_stays_a_gap(
    market: MarketData, store: CandleStore, clock: FakeClock, venue: FakeVenue
) -> None:
    venue.bars = Bars.concat([bars_at(range(100)), bars_at(range(110, HOURS))])
    report, _ = sync(market, store, clock)
    assert (report.missing, report.stored) == (HOURS, HOURS - 10)
    assert missing_in(store, KEY, START, START + HOURS * HOUR) == [(START + 100 * HOUR, START + 110 * HOUR)]


def test_nothing_is_fetched_from_the_future(market: MarketData, store: CandleStore, clock: FakeClock) -> None:
    report, _ = sync(market, store, clock, clock.now_ms() + HOUR)
    assert (report.missing, report.stored) == (0, 0)


def test_venues_that_cannot_be_asked_are_said_so(market: MarketData, store: CandleStore, clock: FakeClock) -> None:
    with pytest.raises(NoSource, match=r"binance cannot be asked.*fake"):
        find_instrument(market, "BTC", "binance", None)
    with pytest.raises(NotFound, match="no source lists XYZ"):
        find_instrument(market, "XYZ", None, None)
    with pytest.raises(NotFound, match="no source lists BTC spot on fake"):
        find_instrument(market, "BTC", "fake", "spot")
    empty = MarketData({}, store, clock, workspace_market="exchanges")
    with pytest.raises(NoSource):
        find_instrument(empty, "BTC", "binance", None)
    with pytest.raises(NoSource, match="MARKET=exchanges"):
        find_instrument(empty, "BTC", None, None)
