"""The simulated market: exact, the same everywhere, plausible, quick."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import NotFound
from domain.market import Bars
from domain.resample import resample
from domain.times import DAY_MS, HOUR_MS, INTERVALS_MS, MINUTE_MS, SECOND_MS, WEEK_MS, floor_ms
from store.catalogue import DATA_FILE
from store.catalogue_load import packaged_coins
from venues.simulated import GENESIS_MS, SimCoin, SimulatedMarket
from venues.simulated_coins import CATEGORY_SIGMA, FOLLOWS, GOLD, KNOWN, shape_coin
from venues.simulated_noise import derive_key, hash_many, hash_one

ROOT = Path(__file__).resolve().parents[2]
SEED = 20200101
COINS = (
    SimCoin("BTC", "Layer1", 1),
    SimCoin("ETH", "Layer1", 2),
    SimCoin("USDT", "Stablecoins", 3),
    SimCoin("UNI", "DeFi", 25),
    SimCoin("DOGE", "Meme", 8),
    SimCoin("PEPE", "Meme", 30),
    SimCoin("ARB", "Layer2", 50),
    SimCoin("LINK", "DeFi", 15),
    SimCoin("XRP", "Payment", 5),
    SimCoin("FET", "AI", 45),
)
Y2024 = GENESIS_MS + 1463 * DAY_MS  # 2024-01-01
END = GENESIS_MS + 2517 * DAY_MS  # 2026-11-20
# Last trades at 2024-01-01 03:25:45 UTC of BTC, ETH, DOGE, USDT and a coin that nobody knows.
GOLDEN = [41867.6, 1591.1, 0.0162653, 1.0, 0.81433]


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return SimulatedMarket(SEED, COINS)


def same(one: Bars, other: Bars) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.columns(), other.columns(), strict=True))


# -- noise --------------------------------------------------------------------------------


@given(st.integers(0, 2**64 - 1), st.integers(-(2**40), 2**40))
def test_one_hash_is_the_vector_s(key: int, index: int) -> None:
    assert hash_one(key, index) == int(hash_many(key, np.array([index]))[0])


def test_streams_differ() -> None:
    assert derive_key(1, "a") != derive_key(1, "b") != derive_key(2, "b")


# -- exactness ----------------------------------------------------------------------------


@pytest.mark.parametrize("coin", ["BTC", "DOGE", "USDT", "PEPE"])
def test_a_minute_is_its_seconds(market: SimulatedMarket, coin: str) -> None:
    start = Y2024 + 7 * HOUR_MS
    bars = market.bars(coin, "1m", start, start + 200 * MINUTE_MS)
    for candle in bars.candles():
        ticks = [market.price_at(coin, candle.time + second * SECOND_MS + 999) for second in range(60)]
        assert (ticks[0], max(ticks), min(ticks), ticks[-1]) == (candle.open, candle.high, candle.low, candle.close)


@pytest.mark.parametrize("interval", [name for name in INTERVALS_MS if name != "1m"])
@pytest.mark.parametrize("coin", ["ETH", "PEPE"])
def test_every_interval_is_built_of_minutes(market: SimulatedMarket, coin: str, interval: str) -> None:
    step = INTERVALS_MS[interval]
    start = floor_ms(Y2024 + 40 * DAY_MS, step)
    count = max(2, 4 * DAY_MS // step)
    minutes = market.bars(coin, "1m", start, start + count * step)
    bars = market.bars(coin, interval, start, start + count * step)
    rows = minutes.open.reshape(count, -1).shape
    assert np.array_equal(bars.time, start + step * np.arange(count))
    assert np.array_equal(bars.open, minutes.open.reshape(rows)[:, 0])
    assert np.array_equal(bars.high, minutes.high.reshape(rows).max(axis=1))
    assert np.array_equal(bars.low, minutes.low.reshape(rows).min(axis=1))
    assert np.array_equal(bars.close, minutes.close.reshape(rows)[:, -1])
    # Exactly, in whatever order they are added up.
    assert bars.volume.tolist() == [sum(row.tolist()) for row in minutes.volume.reshape(rows)]
    assert bars.volume.tolist() == [sum(sorted(row.tolist())) for row in minutes.volume.reshape(rows)]


def test_weeks_open_on_monday(market: SimulatedMarket) -> None:
    weeks = market.bars("BTC", "1w", GENESIS_MS, GENESIS_MS + 10 * WEEK_MS)
    assert len(weeks) == 10
    assert [time.gmtime(int(ms) // 1000).tm_wday for ms in weeks.time] == [0] * 10
    assert same(weeks, resample(market.bars("BTC", "4h", GENESIS_MS, GENESIS_MS + 10 * WEEK_MS), 4 * HOUR_MS, WEEK_MS))


@pytest.mark.parametrize("coin", [coin.symbol for coin in COINS])
def test_candles_keep_their_own_rules(market: SimulatedMarket, coin: str) -> None:
    bars = market.bars(coin, "1m", Y2024, Y2024 + 40 * DAY_MS)
    shape = market.shape(coin)
    scale = 10**shape.decimals
    assert np.array_equal(np.diff(bars.time), np.full(len(bars) - 1, MINUTE_MS))
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low > 0).all()
    for column in (bars.open, bars.high, bars.low, bars.close):
        assert np.array_equal(np.rint(column * scale) / scale, column)  # whole ticks
    assert (bars.volume > 0).all()
    lots = bars.volume / shape.lot
    assert np.allclose(lots, np.rint(lots), rtol=0, atol=1e-6)
    assert np.array_equal(np.rint(bars.volume / shape.volume_unit) * shape.volume_unit, bars.volume)


def test_a_bar_opens_about_where_the_last_one_closed(market: SimulatedMarket) -> None:
    bars = market.bars("BTC", "1m", Y2024, Y2024 + 300 * DAY_MS)
    gap = np.abs(np.log(bars.open[1:] / bars.close[:-1]))
    moves = np.abs(np.log(bars.close / bars.open))
    assert gap.mean() < 0.3 * moves.mean()
    assert gap.max() < 0.01


@pytest.mark.parametrize("coin", ["BTC", "PEPE"])
@given(offset=st.integers(0, 3 * WEEK_MS // 1000))
def test_the_bar_in_progress_becomes_the_closed_one(market: SimulatedMarket, coin: str, offset: int) -> None:
    now = Y2024 + offset * SECOND_MS
    for interval in ("1m", "15m", "4h", "1w"):
        step = INTERVALS_MS[interval]
        opened = floor_ms(now, step)
        forming = market.forming(coin, interval, now)
        closed = market.bars(coin, interval, opened, opened + 1).candle(0)
        assert forming.time == closed.time
        assert forming.open == closed.open
        assert closed.low <= forming.low <= forming.close <= forming.high <= closed.high
        assert 0 <= forming.volume <= closed.volume
        assert forming.close == market.price_at(coin, now)
        assert market.forming(coin, interval, opened + step - 1) == closed


# -- the same everywhere ------------------------------------------------------------------


@settings(max_examples=20)
@given(data=st.data())
def test_any_span_in_any_order(market: SimulatedMarket, data: st.DataObject) -> None:
    coin = data.draw(st.sampled_from(COINS)).symbol
    interval = data.draw(st.sampled_from(["1m", "5m", "1h", "4h", "1d", "1w"]))
    step = INTERVALS_MS[interval]
    base = floor_ms(GENESIS_MS + 1000 * DAY_MS, step)
    first = base + data.draw(st.integers(0, 60 * DAY_MS // step)) * step
    whole = (market if data.draw(st.booleans()) else SimulatedMarket(SEED, COINS[::-1])).bars(
        coin, interval, base, base + 140 * DAY_MS
    )
    part = SimulatedMarket(SEED, COINS).bars(coin, interval, first, first + 7 * step)
    assert same(part, whole.between(first, first + 7 * step))


def test_another_process_sees_the_same_market(market: SimulatedMarket) -> None:
    program = (
        "from venues.simulated import *\n"
        f"m = SimulatedMarket({SEED}, [SimCoin('ETH', 'Layer1', 2)])\n"
        f"m.funding('ETH', {Y2024}, {Y2024 + 9 * DAY_MS})\n"
        f"print(m.bars('ETH', '1m', {Y2024}, {Y2024 + 30 * DAY_MS}).sha256(), m.price_at('ETH', {END}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    digest, price = done.stdout.split()
    assert digest == market.bars("ETH", "1m", Y2024, Y2024 + 30 * DAY_MS).sha256()
    assert float(price) == market.price_at("ETH", END)


def test_the_market_stays_as_it_is() -> None:
    """A change of these numbers changes every past that users have traded on."""
    market = SimulatedMarket(SEED, COINS)
    found = [market.price_at(coin, Y2024 + 12_345_678) for coin in ("BTC", "ETH", "DOGE", "USDT", "NOBODY")]
    assert found == pytest.approx(GOLDEN, rel=1e-6)


def test_another_seed_is_another_market(market: SimulatedMarket) -> None:
    other = SimulatedMarket(SEED + 1, COINS).bars("BTC", "1d", GENESIS_MS, END)
    mine = market.bars("BTC", "1d", GENESIS_MS, END)
    assert abs(np.corrcoef(np.diff(np.log(mine.close)), np.diff(np.log(other.close)))[0, 1]) < 0.15


def test_edits_of_other_coins_change_nothing(market: SimulatedMarket) -> None:
    alone = SimulatedMarket(SEED, [SimCoin("LINK", "DeFi", 15)])
    assert same(alone.bars("LINK", "1h", Y2024, Y2024 + DAY_MS), market.bars("LINK", "1h", Y2024, Y2024 + DAY_MS))


def test_nothing_before_the_beginning(market: SimulatedMarket) -> None:
    assert len(market.bars("BTC", "1h", 0, GENESIS_MS)) == 0
    assert market.bars("BTC", "1w", 0, GENESIS_MS + WEEK_MS).time.tolist() == [GENESIS_MS]
    assert len(market.bars("BTC", "1d", END, END - DAY_MS)) == 0
    with pytest.raises(NotFound):
        market.price_at("BTC", GENESIS_MS - 1)


# -- plausible ----------------------------------------------------------------------------


def log_returns(bars: Bars) -> np.ndarray:
    return np.diff(np.log(bars.close))


@pytest.fixture(scope="module")
def daily(market: SimulatedMarket) -> dict[str, Bars]:
    return {coin.symbol: market.bars(coin.symbol, "1d", GENESIS_MS, END) for coin in COINS}


def test_bitcoin_looks_like_bitcoin(daily: dict[str, Bars]) -> None:
    bitcoin = daily["BTC"]
    assert bitcoin.open[0] == pytest.approx(7200, rel=0.05)
    assert 15_000 < np.median(bitcoin.close[-700:]) < 200_000
    assert 0.022 < log_returns(bitcoin).std() < 0.042
    assert 2_500 < bitcoin.low.min() < bitcoin.high.max() < 400_000


def test_volatility_by_kind(daily: dict[str, Bars]) -> None:
    deviation = {coin: log_returns(bars).std() for coin, bars in daily.items()}
    assert (
        deviation["USDT"] < 0.001 < deviation["BTC"] < deviation["ETH"] < deviation["DOGE"] < deviation["PEPE"] < 0.12
    )


def test_tails_are_fat_and_volatility_clusters(daily: dict[str, Bars]) -> None:
    for coin in ("BTC", "ETH", "UNI", "DOGE"):
        returns = log_returns(daily[coin])
        scaled = (returns - returns.mean()) / returns.std()
        assert 3.5 < (scaled**4).mean() < 25
        size = np.abs(scaled)
        lags = [np.corrcoef(size[lag:], size[:-lag])[0, 1] for lag in range(1, 6)]
        assert np.mean(lags) > 0.06
        assert abs(np.corrcoef(returns[1:], returns[:-1])[0, 1]) < 0.1  # the past tells the size, not the way


@pytest.mark.parametrize("interval", ["1d", "1h", "5m"])
def test_coins_move_together(market: SimulatedMarket, interval: str) -> None:
    start = {"1d": GENESIS_MS, "1h": END - 300 * DAY_MS, "5m": END - 30 * DAY_MS}[interval]
    names = ["BTC", "ETH", "UNI", "DOGE", "XRP", "ARB"]
    found = np.corrcoef([log_returns(market.bars(coin, interval, start, END)) for coin in names])
    pairs = found[np.triu_indices(len(names), 1)]
    assert 0.3 < pairs.min() < pairs.max() < 0.9


def test_a_day_s_minutes_add_up_to_a_day(market: SimulatedMarket, daily: dict[str, Bars]) -> None:
    minutes = log_returns(market.bars("BTC", "1m", GENESIS_MS, GENESIS_MS + 1000 * DAY_MS)).std() * np.sqrt(1440)
    assert minutes == pytest.approx(log_returns(daily["BTC"]).std(), rel=0.25)


def test_stablecoins_keep_their_peg(market: SimulatedMarket, daily: dict[str, Bars]) -> None:
    stable = daily["USDT"]
    assert stable.low.min() >= 0.998
    assert stable.high.max() <= 1.002
    assert abs(np.median(stable.close) - 1) < 0.0005
    euro = SimulatedMarket(SEED, [SimCoin("EURC", "Stablecoins", 90)]).bars("EURC", "1d", END - 99 * DAY_MS, END)
    assert 1.097 < euro.low.min() < euro.high.max() < 1.103


def test_prices_stay_plausible_for_decades(market: SimulatedMarket) -> None:
    later = GENESIS_MS + 40 * 365 * DAY_MS
    for coin in ("BTC", "DOGE", "ETH"):
        first = market.shape(coin).start
        bars = market.bars(coin, "1d", later, later + 300 * DAY_MS)
        assert first / 30 < bars.low.min() < bars.high.max() < first * 1000


def test_wrapped_coins_follow_their_asset(market: SimulatedMarket) -> None:
    wrapped = SimulatedMarket(SEED, [*COINS, SimCoin("WBTC", "DeFi", 20)])
    assert wrapped.price_at("WBTC", END) == market.price_at("BTC", END)
    assert wrapped.shape("WBTC").dollars_a_day < wrapped.shape("BTC").dollars_a_day


def test_volume_is_plausible(market: SimulatedMarket) -> None:
    for coin in ("BTC", "ETH", "DOGE", "UNI"):
        bars = market.bars(coin, "1h", END - 60 * DAY_MS, END)
        dollars = (bars.volume * bars.close).sum() / 60
        usual = market.shape(coin).dollars_a_day
        assert usual / 5 < dollars < usual * 5
        move = np.abs(np.log(bars.close / bars.open))
        assert np.corrcoef(move, bars.volume)[0, 1] > 0.1


def test_funding_is_due_every_eight_hours(market: SimulatedMarket) -> None:
    rates = market.funding("BTC", Y2024, END)
    assert [rate.time_ms for rate in rates] == list(range(Y2024, END, 8 * HOUR_MS))
    values = np.array([rate.rate for rate in rates])
    assert 0 < values.mean() < 0.0005
    assert np.abs(values).max() <= 0.003
    opens = market.bars("BTC", "8h", Y2024 - DAY_MS, END).open
    assert np.corrcoef(values, np.log(opens[3:] / opens[:-3]))[0, 1] > 0.5
    middle = rates[100].time_ms
    assert market.funding("BTC", middle, middle + 1) == [rates[100]]
    assert market.funding("BTC", middle + 1, middle + 8 * HOUR_MS) == []
    assert max(abs(rate.rate) for rate in market.funding("USDT", Y2024, END)) < 0.0002


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20), st.sampled_from([*CATEGORY_SIGMA, None]))
def test_every_coin_has_a_temper(symbol: str, category: str | None) -> None:
    shape = shape_coin(SEED, SimCoin(symbol, category), 0.014, {})
    assert 0 < shape.start < 100_000
    assert 0 < shape.sigma < 0.2
    assert 0 <= shape.own_sigma <= shape.sigma
    lots = shape.volume_unit / shape.lot
    assert lots == pytest.approx(round(lots))
    assert lots >= 1
    assert shape.start / shape.tick >= 9_999


def test_the_shipped_coins_are_plausible() -> None:
    coins = [SimCoin(*facts) for facts in packaged_coins(DATA_FILE)]
    shapes = [shape_coin(SEED, coin, 0.014, {}) for coin in coins]
    assert len(coins) >= 120
    assert [shape.symbol for shape, coin in zip(shapes, coins, strict=True) if shape.is_stable] == [
        coin.symbol for coin in coins if coin.category == "Stablecoins"
    ]
    assert {coin.symbol for coin in coins if coin.symbol in FOLLOWS or coin.symbol in GOLD} == {"WBTC", "PAXG", "XAUT"}
    market = SimulatedMarket(SEED, coins)
    for coin in coins:
        days = market.bars(coin.symbol, "1d", END - 30 * DAY_MS, END)
        assert market.shape(coin.symbol).start / 300 < days.low.min() < days.high.max() < 300_000


def test_known_starts_are_kept(market: SimulatedMarket) -> None:
    for coin in ("BTC", "ETH", "DOGE", "SHIB"):
        assert market.bars(coin, "1d", GENESIS_MS, GENESIS_MS + DAY_MS).open[0] == pytest.approx(
            KNOWN[coin][0], rel=1e-3
        )


# -- quick --------------------------------------------------------------------------------


def test_a_million_minutes_in_two_seconds() -> None:
    market = SimulatedMarket(SEED, COINS)
    started = time.perf_counter()
    bars = market.bars("ETH", "1m", GENESIS_MS, GENESIS_MS + 1_000_000 * MINUTE_MS)
    took = time.perf_counter() - started
    assert len(bars) == 1_000_000
    assert took < 2.0
