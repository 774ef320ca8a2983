"""Many venues as one: order, failover, freshness, cache, stored series."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from data_aggregator import MarketData
from domain.errors import InvalidValue, NoSource, NotFound, Refused, Retryable
from domain.market import Bars, SeriesKey
from domain.times import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS, floor_ms
from runtime.clock import SteppedClock
from store.candles import CandleStore
from tests.candle_files import START, bars_at, open_store, same
from tests.fakes.venue import FakeVenue
from venues.simulated import GENESIS_MS, SimCoin, SimulatedMarket, SimulatedVenue

NOW = START + 500 * DAY_MS + 3 * HOUR_MS + 25 * MINUTE_MS + 40_500
SIMULATED = SimulatedMarket(11, [SimCoin("BTC", "Layer1", 1), SimCoin("ETH", "Layer1", 2)])


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(NOW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CandleStore]:
    with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def venues(clock: SteppedClock) -> tuple[FakeVenue, FakeVenue]:
    return FakeVenue("first", clock), FakeVenue("second", clock, ["BTC", "ETH", "ONLY"])


@pytest.fixture
def data(venues: tuple[FakeVenue, FakeVenue], store: CandleStore, clock: SteppedClock) -> MarketData:
    return MarketData({venue.name: venue for venue in venues}, store, clock, workspace_market="exchanges")


@pytest.fixture
def simulated(store: CandleStore, clock: SteppedClock) -> MarketData:
    venue = SimulatedVenue(SIMULATED, clock, lambda: ["BTC", "ETH"])
    return MarketData({"simulated": venue}, store, clock, workspace_market="simulated")


Venues = tuple[FakeVenue, FakeVenue]

# -- order and failover -------------------------------------------------------------------


def test_the_first_source_is_asked_first(data: MarketData, venues: Venues) -> None:
    assert data.quote("BTC").source == "first"
    assert venues[1].calls["quotes"] == 0


@pytest.mark.parametrize("trouble", [Retryable("no answer within 2 s"), Refused("no such symbol")])
def test_the_next_one_stands_in_and_says_so(data: MarketData, venues: Venues, trouble: Refused | Retryable) -> None:
    data.quote("BTC")
    venues[0].down = trouble
    assert data.quote("BTC", max_age_ms=0).source == "second"
    assert data.candles("BTC", "1h", NOW - DAY_MS, NOW) is not None
    assert data.order_book("BTC").source == "second"


def test_a_coin_is_found_where_it_is_listed(data: MarketData) -> None:
    assert data.quote("ONLY").source == "second"
    assert [quote.source for quote in data.quotes(["ONLY", "BTC"]).values()] == ["second", "first"]
    assert [i.venue for i in data.instruments("BTC")] == ["first", "second"]
    assert data.instrument("BTC") == data.instruments("BTC")[0]
    assert data.instrument("NOBODY") is None


def test_words_when_nobody_answers(data: MarketData, venues: Venues) -> None:
    data.quote("BTC")
    for venue in venues:
        venue.down = Retryable(f"{venue.name} sleeps")
    with pytest.raises(NoSource, match="first: first sleeps; second: second sleeps"):
        data.quote("BTC", max_age_ms=0)
    with pytest.raises(NoSource, match="sleeps"):
        data.candles("BTC", "1h", NOW - DAY_MS, NOW)


def test_an_unknown_coin_is_not_trouble(data: MarketData) -> None:
    with pytest.raises(NotFound, match="NOBODY"):
        data.quote("NOBODY")
    assert data.quotes(["NOBODY", "BTC"]).keys() == {"BTC"}
    with pytest.raises(NotFound):
        data.funding("NOBODY", 0, NOW)


def test_health_follows_the_answers(data: MarketData, venues: Venues, clock: SteppedClock) -> None:
    venues[1].down = Retryable("closed")
    health = data.health()
    assert (health["first"].state, health["first"].last_ok) == ("ok", NOW)
    assert (health["second"].state, health["second"].last_ok, health["second"].error) == ("down", None, "closed")
    clock.advance(1000)
    venues[0].down, venues[1].down = Retryable("gone"), None
    data.quote("BTC")
    health = data.health()
    assert (health["first"].state, health["first"].last_ok, health["first"].error) == ("down", NOW, "gone")
    assert (health["second"].state, health["second"].last_ok) == ("ok", NOW + 1000)


def test_exchanges_without_venues_say_so(store: CandleStore, clock: SteppedClock) -> None:
    data = MarketData({}, store, clock, workspace_market="exchanges")
    for ask in (data.quote, data.order_book, lambda coin: data.klines(coin, "1h"), lambda coin: data.quotes([coin])):
        with pytest.raises(NoSource, match="exchange venues are not part of this version"):
            ask("BTC")
    [(name, health)] = data.health().items()
    assert name == "exchanges"
    assert health.state == "down"
    assert health.error is not None
    assert data.instruments("BTC") == []


# -- freshness and cache ------------------------------------------------------------------


def test_a_quote_is_asked_for_once_a_second(data: MarketData, venues: Venues, clock: SteppedClock) -> None:
    data.quotes(["BTC", "ETH"])
    clock.advance(499)
    assert data.quote("ETH").received_ms == NOW
    assert venues[0].calls["quotes"] == 1
    clock.advance(1)
    assert data.quote("ETH").received_ms == NOW + 500
    assert venues[0].calls["quotes"] == 2
    clock.advance(3_000)
    assert data.quote("ETH", max_age_ms=3_001).received_ms == NOW + 500
    assert data.quote("ETH", max_age_ms=3_000).received_ms == NOW + 3_500
    assert data.cache_counts().hits > 0


def test_an_old_quote_is_stale(data: MarketData, venues: Venues, clock: SteppedClock) -> None:
    venues[0].lag_ms = 400
    quote = data.quote("BTC")
    assert (data.freshness(quote).age_ms, data.freshness(quote).stale) == (400, False)
    clock.advance(9_601)
    assert (data.freshness(quote).age_ms, data.freshness(quote).stale) == (10_001, True)


def test_without_a_cache_every_question_is_asked(venues: Venues, store: CandleStore, clock: SteppedClock) -> None:
    data = MarketData({"first": venues[0]}, store, clock, workspace_market="exchanges", cache_enabled=False)
    data.quote("BTC")
    data.quote("BTC")
    assert venues[0].calls["quotes"] == 2
    assert data.cache_counts().hits == 0


def test_many_who_ask_at_once_are_one_question(data: MarketData, venues: Venues) -> None:
    data.quote("ETH")  # the list of instruments is known
    venues[0].gate = threading.Event()
    prices: list[float] = []
    threads = [threading.Thread(target=lambda: prices.append(data.quote("BTC").price)) for _ in range(6)]
    for thread in threads:
        thread.start()
    while venues[0].calls["quotes"] < 2:
        threading.Event().wait(0.005)
    threading.Event().wait(0.1)
    venues[0].gate.set()
    for thread in threads:
        thread.join()
    assert prices == [100.0] * 6
    assert venues[0].calls["quotes"] == 2


def test_one_error_for_all_who_asked(data: MarketData, venues: Venues) -> None:
    for venue in venues:
        venue.down = Retryable("closed")
    with pytest.raises(NoSource):
        data.quote("BTC")
    for venue in venues:
        venue.down = None
    assert data.quote("BTC").price == 100.0


# -- candles of the workspace's market ----------------------------------------------------


def test_the_newest_closed_bars(simulated: MarketData) -> None:
    bars, sourced, forming = simulated.klines("BTC", "1h", 5)
    last = floor_ms(NOW, HOUR_MS)
    assert bars.time.tolist() == [last - k * HOUR_MS for k in (5, 4, 3, 2, 1)]
    assert same(bars, SIMULATED.bars("BTC", "1h", last - 5 * HOUR_MS, last))
    assert (sourced.source, sourced.market, sourced.symbol) == ("simulated", "perp", "BTCUSDT")
    assert sourced.age_ms == NOW - last
    assert forming is None


def test_the_bar_in_progress(simulated: MarketData) -> None:
    found = simulated.klines("BTC", "1h", 5, forming=True)
    assert len(found.bars) == 5
    assert found.forming == SIMULATED.forming("BTC", "1h", NOW)
    assert found.sourced.age_ms == 0
    assert simulated.klines("BTC", "1h", 5, end_ms=floor_ms(NOW, HOUR_MS), forming=True).forming is None
    assert simulated.klines("BTC", "1h", 5, start_ms=START + DAY_MS, forming=True).forming is None
    assert simulated.klines("BTC", "1h", 5, start_ms=NOW + DAY_MS, forming=True).forming is None
    assert simulated.klines("BTC", "1h", 5, start_ms=floor_ms(NOW, HOUR_MS), forming=True).forming is not None


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (START, None, START, START + 9 * HOUR_MS),
        (START + 1, None, START + HOUR_MS, START + 10 * HOUR_MS),
        (None, START + 1, START - 9 * HOUR_MS, START),
        (START, START + 3 * HOUR_MS, START, START + 2 * HOUR_MS),
        (None, 2**60, floor_ms(NOW, HOUR_MS) - 10 * HOUR_MS, floor_ms(NOW, HOUR_MS) - HOUR_MS),
    ],
)
def test_spans(simulated: MarketData, start: int | None, end: int | None, first: int, last: int) -> None:
    bars = simulated.klines("ETH", "1h", 10, start, end).bars
    assert (bars.time[0], bars.time[-1]) == (first, last)


@pytest.mark.parametrize("interval", ["1m", "1h", "1d", "1w"])
@pytest.mark.parametrize("venue", [None, "simulated"])
def test_a_span_that_begins_before_the_market_gives_its_first_bars(
    simulated: MarketData, interval: str, venue: str | None
) -> None:
    bars = simulated.klines("BTC", interval, 10, start_ms=0, venue=venue).bars
    assert (len(bars), bars.time[0]) == (10, GENESIS_MS)


@pytest.mark.parametrize(("start", "end"), [(2**60, None), (NOW, None), (None, 5), (0, 5), (NOW, NOW)])
def test_empty_spans(simulated: MarketData, start: int | None, end: int | None) -> None:
    assert len(simulated.klines("BTC", "1d", 10, start, end).bars) == 0


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_limits(simulated: MarketData, limit: int) -> None:
    with pytest.raises(InvalidValue) as raised:
        simulated.klines("BTC", "1h", limit)
    assert raised.value.field == "limit"


def test_a_thousand_weeks_are_all_there_are(simulated: MarketData) -> None:
    weeks = simulated.klines("BTC", "1w", 1000).bars
    assert 200 < len(weeks) < 1000
    assert (np.diff(weeks.time) == WEEK_MS).all()


def test_closed_bars_come_from_the_cache_and_new_ones_appear(simulated: MarketData, clock: SteppedClock) -> None:
    before = simulated.klines("BTC", "1m", 3)
    hits = simulated.cache_counts().hits
    assert same(simulated.klines("BTC", "1m", 3).bars, before.bars)
    assert simulated.cache_counts().hits == hits + 1
    clock.advance(MINUTE_MS)
    after = simulated.klines("BTC", "1m", 3).bars
    assert after.time.tolist() == (before.bars.time + MINUTE_MS).tolist()


def test_an_unfinished_span_is_not_kept(simulated: MarketData, clock: SteppedClock) -> None:
    end = floor_ms(NOW, MINUTE_MS) + 1
    assert len(simulated.candles("BTC", "1m", end - 3 * MINUTE_MS - 1, end)) == 3
    clock.set(end + MINUTE_MS)
    assert len(simulated.candles("BTC", "1m", end - 3 * MINUTE_MS - 1, end)) == 4


def test_spot_and_unknown_markets(simulated: MarketData) -> None:
    assert simulated.klines("BTC", "1h", market="spot").sourced.market == "spot"
    with pytest.raises(NotFound):
        simulated.klines("BTC", "1h", market="perp-mark")
    with pytest.raises(InvalidValue):
        simulated.klines("BTC", "1h", market="futures")
    with pytest.raises(NotFound):
        simulated.klines("NOBODY", "1h")


def test_funding(simulated: MarketData) -> None:
    rates = simulated.funding("BTC", NOW - DAY_MS, NOW)
    assert [rate.time_ms for rate in rates] == [floor_ms(NOW, 8 * HOUR_MS) - k * 8 * HOUR_MS for k in (2, 1, 0)]
    assert simulated.funding("BTC", 2**60, 2**61) == []


# -- stored candles -----------------------------------------------------------------------

BINANCE_1H = SeriesKey("binance", "spot", "BTCUSDT", "1h")


def test_stored_series_are_charted_in_any_workspace(simulated: MarketData, store: CandleStore) -> None:
    bars = bars_at(range(200))
    store.merge(BINANCE_1H, bars)
    found = simulated.klines("BTC", "1h", 50, venue="binance", forming=True)
    assert same(found.bars, bars[150:])
    assert (found.sourced.source, found.sourced.market, found.sourced.symbol) == ("binance", "spot", "BTCUSDT")
    assert found.sourced.age_ms == NOW - (START + 200 * HOUR_MS)
    assert found.forming is None
    assert same(simulated.klines("BTC", "1h", 50, START + HOUR_MS, venue="binance").bars, bars[1:51])
    assert same(simulated.klines("BTC", "1h", 50, None, START + HOUR_MS, venue="binance").bars, bars[:1])
    assert len(simulated.klines("BTC", "1h", 50, 2**60, venue="binance").bars) == 0


def test_simulated_prices_never_fill_in_for_a_venue(simulated: MarketData) -> None:
    with pytest.raises(NotFound, match="import or sync"):
        simulated.klines("BTC", "1h", venue="binance")


def test_a_real_workspace_has_no_simulated_prices(data: MarketData) -> None:
    with pytest.raises(NotFound):
        data.klines("BTC", "1h", venue="simulated")


def test_the_market_is_found_where_it_is_not_said(simulated: MarketData, store: CandleStore) -> None:
    store.merge(SeriesKey("okx", "perp", "ETHUSDT", "1h"), bars_at(range(3)))
    assert simulated.klines("ETH", "1h", venue="okx").sourced.market == "perp"
    with pytest.raises(NotFound):
        simulated.klines("ETH", "1h", venue="okx", market="spot")


def test_coarser_bars_are_built_from_finer_ones(simulated: MarketData, store: CandleStore) -> None:
    bars = bars_at([*range(5, 100), *range(103, 400)])
    store.merge(BINANCE_1H, bars)
    found = simulated.klines("BTC", "4h", 1000, venue="binance")
    assert found.sourced.note == "built from 1h candles"
    assert found.bars.time[0] == START + 8 * HOUR_MS  # hours 4 to 7 are not whole
    assert found.bars.time[-1] == START + 396 * HOUR_MS
    first = found.bars.candle(0)
    assert (first.open, first.high, first.low, first.close) == (108.0, 113.0, 106.0, 112.0)
    assert first.volume == 3 * (108 + 109 + 110 + 111)
    holed = found.bars.candle(int(np.searchsorted(found.bars.time, START + 100 * HOUR_MS)))
    assert (holed.open, holed.close) == (203.0, 204.0)  # hour 103 is all that there was
    newest = simulated.klines("BTC", "4h", 5, venue="binance").bars
    assert same(newest, found.bars[-5:])
    early = simulated.klines("BTC", "4h", 5, START + 1, START + 20 * HOUR_MS, venue="binance").bars
    assert early.time.tolist() == [START + h * HOUR_MS for h in (8, 12, 16)]


def test_stored_weeks_open_on_monday(simulated: MarketData, store: CandleStore) -> None:
    store.merge(BINANCE_1H, bars_at(range(24 * 30)))
    weeks = simulated.klines("BTC", "1w", venue="binance").bars
    assert weeks.time.tolist() == [START + k * WEEK_MS for k in range(4)]  # 2024-01-01 was a Monday


def test_a_finer_interval_is_never_made_up(simulated: MarketData, store: CandleStore) -> None:
    store.merge(BINANCE_1H, bars_at(range(24)))
    with pytest.raises(NotFound):
        simulated.klines("BTC", "15m", venue="binance")


def test_empty_bars_resample_to_empty() -> None:
    from domain.resample import resample

    assert len(resample(Bars.empty(), MINUTE_MS, HOUR_MS)) == 0
    with pytest.raises(InvalidValue):
        resample(Bars.empty(), HOUR_MS, MINUTE_MS)
