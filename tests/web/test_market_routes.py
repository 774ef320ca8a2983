"""/api/klines and /api/market as the contract has them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from config import Settings
from data_aggregator import MarketData
from domain.market import SeriesKey
from domain.times import DAY_MS, HOUR_MS, MINUTE_MS, floor_ms
from store.candles import CandleStore
from tests.candle_files import START, bars_at, open_store
from tests.fakes.clock import FakeClock
from tests.web.conftest import build_small_app
from venues.simulated import SimCoin, SimulatedMarket, SimulatedVenue

if TYPE_CHECKING:
    from flask.testing import FlaskClient

NOW = START + 300 * DAY_MS + 3 * HOUR_MS + 25 * MINUTE_MS + 40_500
SIMULATED = SimulatedMarket(3, [SimCoin("BTC", "Layer1", 1)])
ROW = {"timestamp", "open", "high", "low", "close", "volume"}
QUOTE = {
    "symbol", "price", "bid", "ask", "change_24h", "change_percent_24h", "high_24h", "low_24h", "volume_24h",
    "source", "age_ms", "stale",
}  # fmt: skip


CLOCK = FakeClock(NOW)


@pytest.fixture(autouse=True)
def clock() -> FakeClock:
    """One for the whole module, back at NOW for each test."""
    CLOCK.time_ms = NOW
    return CLOCK


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CandleStore]:
    with open_store(tmp_path_factory.mktemp("candles")) as opened:
        yield opened


def make_client(folder: Path, store: CandleStore, market: Literal["simulated", "exchanges"]) -> FlaskClient:
    venue = SimulatedVenue(SIMULATED, CLOCK, lambda: ["BTC", "ETH", "USDT"])
    sources = {"simulated": venue} if market == "simulated" else {}
    data = MarketData(sources, store, CLOCK, workspace_market=market, cache_enabled=False)
    settings = Settings(data_dir=folder, market=market)
    return build_small_app(settings, market=data, clock=CLOCK, candles=store).test_client(use_cookies=False)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, store: CandleStore) -> FlaskClient:
    return make_client(tmp_path_factory.mktemp("simulated"), store, "simulated")


@pytest.fixture(scope="module")
def without_venues(tmp_path_factory: pytest.TempPathFactory, store: CandleStore) -> FlaskClient:
    return make_client(tmp_path_factory.mktemp("exchanges"), store, "exchanges")


# -- candles ------------------------------------------------------------------------------


def test_closed_bars_oldest_first(client: FlaskClient) -> None:
    answer = client.get("/api/klines/BTC?interval=15m&limit=7")
    assert answer.status_code == 200
    rows = answer.get_json()
    last = floor_ms(NOW, 15 * MINUTE_MS)
    assert [row["timestamp"] for row in rows] == [last - k * 15 * MINUTE_MS for k in range(7, 0, -1)]
    assert all(row.keys() == ROW for row in rows)
    wanted = SIMULATED.bars("BTC", "15m", last - 15 * MINUTE_MS, last).candle(0)
    assert rows[-1]["close"] == wanted.close
    assert rows[-1]["volume"] == wanted.volume
    assert answer.headers["X-Data-Source"] == "simulated"
    assert int(answer.headers["X-Data-Age-Ms"]) == NOW - last
    assert "Set-Cookie" not in answer.headers


def test_the_defaults(client: FlaskClient) -> None:
    rows = client.get("/api/klines/BTC").get_json()
    assert len(rows) == 100
    assert rows[1]["timestamp"] - rows[0]["timestamp"] == HOUR_MS


def test_the_bar_in_progress_comes_last(client: FlaskClient) -> None:
    rows = client.get("/api/klines/BTC?limit=3&forming=1").get_json()
    assert [row["timestamp"] for row in rows] == [floor_ms(NOW, HOUR_MS) + k * HOUR_MS for k in (-3, -2, -1, 0)]
    price = client.get("/api/market/quote/BTC").get_json()["price"]
    assert rows[-1]["close"] == price


def test_start_and_end_are_both_within(client: FlaskClient) -> None:
    start = NOW // DAY_MS * DAY_MS - 5 * DAY_MS
    rows = client.get(f"/api/klines/BTC?interval=1d&start={start}&end={start + 2 * DAY_MS}").get_json()
    assert [row["timestamp"] for row in rows] == [start, start + DAY_MS, start + 2 * DAY_MS]
    rows = client.get(f"/api/klines/BTC?interval=1d&start={start}&limit=2").get_json()
    assert [row["timestamp"] for row in rows] == [start, start + DAY_MS]
    assert client.get(f"/api/klines/BTC?start={2**62}").get_json() == []


@pytest.mark.parametrize("interval", ["1h", "4h"])  # stored, and built from it
def test_the_end_of_time_is_an_end(client: FlaskClient, store: CandleStore, interval: str) -> None:
    store.merge(SeriesKey("binance", "spot", "BTCUSDT", "1h"), bars_at(range(30)))
    last = 2**63 - 1
    for path in ("klines", "market/ohlcv"):
        whole = client.get(f"/api/{path}/BTC?venue=binance&interval={interval}").get_json()
        assert client.get(f"/api/{path}/BTC?venue=binance&interval={interval}&end={last}").get_json() == whole != []
        for query in (f"start={last}", f"start={last}&end={last}"):
            assert client.get(f"/api/{path}/BTC?venue=binance&interval={interval}&{query}").get_json() == []


@pytest.mark.parametrize("coin", ["BTC", "btc", "BTCUSDT", "BTC-USDT", "BTC/USDT", "BTC%2FUSDT", "BTC-USDT-SWAP"])
@pytest.mark.parametrize("path", ["klines", "market/quote", "market/stats", "market/ohlcv", "market/orderbook"])
def test_a_coin_in_all_its_forms(client: FlaskClient, path: str, coin: str) -> None:
    answer = client.get(f"/api/{path}/{coin}")
    assert answer.status_code == 200
    if path.startswith("market/") and path != "market/ohlcv":
        assert answer.get_json()["symbol"] == "BTC"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("interval=7m", "interval"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("start=-1", "start"),
        ("start=9&end=8", "start"),
        ("forming=2", "forming"),
        ("market=moon", "market"),
        ("venue=../..", "venue"),
        ("colour=red", "colour"),
        (f"end={2**64}", "end"),
    ],
)
def test_wrong_values_are_named(client: FlaskClient, query: str, field: str) -> None:
    for path in ("/api/klines/BTC", "/api/market/ohlcv/BTC"):
        answer = client.get(f"{path}?{query}")
        assert answer.status_code == 422
        assert answer.get_json()["field"] == field


@pytest.mark.parametrize("path", ["klines", "market/quote", "market/stats", "market/ohlcv", "market/orderbook"])
def test_an_unknown_coin(client: FlaskClient, path: str) -> None:
    answer = client.get(f"/api/{path}/NOSUCHCOIN")
    assert answer.status_code == 404
    assert "NOSUCHCOIN" in answer.get_json()["error"]


def test_stored_candles_of_a_venue(client: FlaskClient, store: CandleStore) -> None:
    store.merge(SeriesKey("binance", "spot", "BTCUSDT", "1h"), bars_at(range(30)))
    answer = client.get("/api/klines/BTC?interval=1h&venue=binance&limit=2")
    assert [row["timestamp"] for row in answer.get_json()] == [START + 28 * HOUR_MS, START + 29 * HOUR_MS]
    assert answer.headers["X-Data-Source"] == "binance"
    assert answer.headers["X-Data-Market"] == "spot"
    built = client.get("/api/klines/BTC?interval=4h&venue=Binance&market=spot")
    assert len(built.get_json()) == 7
    assert built.headers["X-Data-Note"] == "built from 1h candles"
    assert client.get("/api/klines/BTC?venue=okx").status_code == 404
    assert client.get("/api/klines/BTC?venue=binance&market=perp").status_code == 404


def test_a_stored_series_needs_no_coin(client: FlaskClient, store: CandleStore) -> None:
    store.merge(SeriesKey("binance", "spot", "龙USDT", "1h"), bars_at(range(5)))
    assert len(client.get("/api/klines/龙?venue=binance").get_json()) == 5
    assert client.get("/api/klines/龙").status_code == 404


def test_a_thousand_bars_take_milliseconds(client: FlaskClient) -> None:
    path = "/api/klines/BTC?interval=1h&limit=1000"
    client.get(path)
    took = []
    for _ in range(5):
        started = time.perf_counter()
        assert len(client.get(path).get_json()) == 1000
        took.append(time.perf_counter() - started)
    assert min(took) < 0.05


# -- quotes -------------------------------------------------------------------------------


def test_a_quote(client: FlaskClient, clock: FakeClock) -> None:
    quote = client.get("/api/market/quote/BTC").get_json()
    assert quote.keys() >= QUOTE
    assert (quote["symbol"], quote["source"], quote["stale"], quote["age_ms"]) == ("BTC", "simulated", False, 500)
    assert quote["price"] == SIMULATED.price_at("BTC", NOW)
    assert quote["bid"] < quote["price"] < quote["ask"]
    assert quote["low_24h"] <= quote["price"] <= quote["high_24h"]
    before = quote["price"] - quote["change_24h"]
    assert quote["change_percent_24h"] == pytest.approx(quote["change_24h"] / before * 100)
    assert client.get("/api/market/stats/BTC").get_json() == quote
    assert client.get("/api/market/quote/BTC?market=spot").get_json()["price"] == quote["price"]
    clock.advance(1)
    assert client.get("/api/market/quote/BTC").get_json()["timestamp"] == quote["timestamp"] + 1000


def test_the_ticker_has_what_the_market_lists(client: FlaskClient) -> None:
    rows = client.get("/api/market/ticker").get_json()
    assert [row["symbol"] for row in rows] == ["BTC", "ETH", "USDT"]
    rows = client.get("/api/market/ticker?symbols=ETHUSDT,BTC,ETH").get_json()
    assert [row["symbol"] for row in rows] == ["ETH", "BTC"]
    assert client.get("/api/market/ticker?symbols=NOSUCHCOIN").status_code == 404


def test_symbols(client: FlaskClient) -> None:
    rows = client.get("/api/market/symbols").get_json()
    assert [(row["symbol"], row["market"], row["instrument"]) for row in rows[:2]] == [
        ("BTC", "perp", "BTCUSDT"),
        ("BTC", "spot", "BTCUSDT"),
    ]
    assert rows[0]["tick"] == 0.1
    assert {row["source"] for row in rows} == {"simulated"}


def test_the_order_book(client: FlaskClient) -> None:
    book = client.get("/api/market/orderbook/BTC?depth=5").get_json()
    quote = client.get("/api/market/quote/BTC").get_json()
    assert (book["bids"][0][0], book["asks"][0][0]) == (quote["bid"], quote["ask"])
    assert len(book["bids"]) == len(book["asks"]) == 5
    assert client.get("/api/market/orderbook/BTC?depth=0").status_code == 422


# -- no venue -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["klines/BTC", "market/quote/BTC", "market/stats/BTC", "market/ticker", "market/ohlcv/BTC", "market/orderbook/BTC"],
)
def test_exchanges_say_in_words_that_no_venue_answers(without_venues: FlaskClient, path: str) -> None:
    answer = without_venues.get(f"/api/{path}")
    assert answer.status_code == 503
    assert "no venue answers" in answer.get_json()["error"]


def test_health_says_so_too(without_venues: FlaskClient) -> None:
    sources = without_venues.get("/api/health").get_json()["sources"]
    assert sources["exchanges"]["state"] == "down"
    assert "no venue answers" in sources["exchanges"]["error"]


def test_stored_candles_need_no_venue(without_venues: FlaskClient, store: CandleStore) -> None:
    store.merge(SeriesKey("binance", "spot", "BTCUSDT", "1h"), bars_at(range(30)))
    assert len(without_venues.get("/api/klines/BTC?venue=binance").get_json()) == 30
    assert without_venues.get("/api/market/symbols").get_json() == []
    assert without_venues.get("/api/klines/BTC?venue=simulated").status_code == 404
