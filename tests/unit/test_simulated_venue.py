"""The simulated venue serves the market's past and present, and nothing after now."""

from __future__ import annotations

import pytest

from domain.errors import NotFound
from domain.ports import MarketSource
from domain.times import DAY_MS, HOUR_MS, INTERVALS_MS, MINUTE_MS, SECOND_MS, floor_ms, from_ms
from runtime.clock import SteppedClock
from venues.simulated import GENESIS_MS, SimCoin, SimulatedMarket, SimulatedVenue

NOW = GENESIS_MS + 1500 * DAY_MS + 5 * HOUR_MS + 17 * MINUTE_MS + 23_456
COINS = [SimCoin("BTC", "Layer1", 1), SimCoin("ETH", "Layer1", 2), SimCoin("USDC", "Stablecoins", 6)]
MARKET = SimulatedMarket(7, COINS)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(NOW)


@pytest.fixture
def venue(clock: SteppedClock) -> SimulatedVenue:
    return SimulatedVenue(MARKET, clock, lambda: [coin.symbol for coin in COINS])


def test_it_is_a_market_source(venue: SimulatedVenue) -> None:
    source: MarketSource = venue
    assert source.name == "simulated"
    listed = {(i.coin, i.market, i.symbol) for i in source.instruments()}
    assert listed == {(c.symbol, m, f"{c.symbol}USDT") for c in COINS for m in ("perp", "spot")}


def test_instruments_say_what_they_are(venue: SimulatedVenue) -> None:
    bitcoin = venue.instrument("BTC")
    assert (bitcoin.tick, bitcoin.lot, bitcoin.min_notional, bitcoin.max_leverage) == (0.1, 0.0001, 5.0, 100.0)
    assert venue.instrument("BTC", "spot").max_leverage == 1.0
    with pytest.raises(NotFound):
        venue.instrument("BTC", "perp-mark")


def test_a_coin_added_later_is_listed(clock: SteppedClock) -> None:
    symbols = ["BTC"]
    venue = SimulatedVenue(MARKET, clock, lambda: symbols)
    assert len(venue.instruments()) == 2
    symbols.append("NEWCOIN")
    assert {i.coin for i in venue.instruments()} == {"BTC", "NEWCOIN"}
    assert venue.quotes([venue.instrument("NEWCOIN")])[0].price > 0


@pytest.mark.parametrize("interval", list(INTERVALS_MS))
def test_only_closed_candles(venue: SimulatedVenue, interval: str) -> None:
    step = INTERVALS_MS[interval]
    bars = venue.candles(venue.instrument("ETH"), interval, from_ms(NOW - 5 * step), from_ms(NOW + 50 * DAY_MS))
    assert 4 <= len(bars) <= 5
    assert bars.time[-1] + step <= NOW < bars.time[-1] + 2 * step


def test_a_candle_appears_when_it_closes(venue: SimulatedVenue, clock: SteppedClock) -> None:
    bitcoin, opened = venue.instrument("BTC"), floor_ms(NOW, MINUTE_MS)
    clock.set(opened + MINUTE_MS - 1)
    assert len(venue.candles(bitcoin, "1m", from_ms(opened), from_ms(opened + DAY_MS))) == 0
    forming = venue.forming(bitcoin, "1m")
    clock.advance(1)
    closed = venue.candles(bitcoin, "1m", from_ms(opened), from_ms(opened + DAY_MS))
    assert list(closed.candles()) == [forming]


def test_quotes_move_every_second_inside_the_candle(venue: SimulatedVenue, clock: SteppedClock) -> None:
    bitcoin, opened = venue.instrument("BTC"), floor_ms(NOW, MINUTE_MS) + MINUTE_MS
    prices = []
    for second in range(60):
        clock.set(opened + second * SECOND_MS + 500)
        [quote] = venue.quotes([bitcoin])
        assert quote.bid < quote.price < quote.ask
        assert (quote.venue_time_ms, quote.received_ms) == (opened + second * SECOND_MS, clock.now_ms())
        assert (quote.coin, quote.symbol, quote.source) == ("BTC", "BTCUSDT", "simulated")
        prices.append(quote.price)
    clock.set(opened + MINUTE_MS)
    candle = venue.candles(bitcoin, "1m", from_ms(opened), from_ms(opened + 1)).candle(0)
    assert (prices[0], max(prices), min(prices), prices[-1]) == (candle.open, candle.high, candle.low, candle.close)
    assert len(set(prices)) > 15


def test_quotes_tell_of_the_last_24_hours(venue: SimulatedVenue) -> None:
    [quote] = venue.quotes([venue.instrument("ETH")])
    minute = floor_ms(NOW, MINUTE_MS)
    past = MARKET.bars("ETH", "1m", minute - DAY_MS, minute)
    forming = MARKET.forming("ETH", "1m", NOW)
    assert quote.high_24h == max(past.high.max(), forming.high)
    assert quote.low_24h == min(past.low.min(), forming.low)
    assert quote.volume_24h == past.volume.sum() + forming.volume
    assert quote.change_24h == quote.price - past.open[0]
    assert quote.change_percent_24h == pytest.approx(100 * (quote.price / past.open[0] - 1))


def test_the_first_minute_has_a_quote() -> None:
    venue = SimulatedVenue(MARKET, SteppedClock(GENESIS_MS + 30_000), lambda: ["BTC"])
    [quote] = venue.quotes([venue.instrument("BTC")])
    assert quote.low_24h is not None
    assert quote.high_24h is not None
    assert quote.low_24h <= quote.price <= quote.high_24h


@pytest.mark.parametrize("coin", ["BTC", "USDC", "SHIB"])
def test_the_order_book_is_ordered_and_repeatable(venue: SimulatedVenue, coin: str) -> None:
    instrument = venue.instrument(coin)
    book, [quote] = venue.order_book(instrument, 25), venue.quotes([instrument])
    assert (book.bids[0][0], book.asks[0][0]) == (quote.bid, quote.ask)
    bids, asks = [price for price, _ in book.bids], [price for price, _ in book.asks]
    assert len(asks) == len(set(asks)) == 25
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(asks)
    assert min(bids) > 0
    assert all(size > 0 for _, size in book.bids + book.asks)
    assert venue.order_book(instrument, 25) == book
    assert len(venue.order_book(instrument, 0).asks) == 1
    assert len(venue.order_book(instrument, 10**9).asks) == 500


def test_a_part_of_a_minute_is_what_its_seconds_showed(venue: SimulatedVenue, clock: SteppedClock) -> None:
    bitcoin, minute = venue.instrument("BTC"), floor_ms(NOW, MINUTE_MS)
    prices = MARKET.seconds("BTC", minute).tolist()
    found = venue.span(bitcoin, from_ms(minute + 3_000), from_ms(minute + 20_000))
    assert found is not None
    assert (found.time, found.open, found.close) == (minute + 3_000, prices[3], prices[19])
    assert (found.high, found.low) == (max(prices[3:20]), min(prices[3:20]))
    # 23.456 seconds of the minute have passed: nothing of what comes is told.
    ahead = venue.span(bitcoin, from_ms(minute + 10_000), from_ms(minute + MINUTE_MS))
    assert ahead is not None
    assert (ahead.close, ahead.high) == (prices[23], max(prices[10:24]))
    assert venue.span(bitcoin, from_ms(minute + 30_000), from_ms(minute + MINUTE_MS)) is None
    assert venue.span(bitcoin, from_ms(0), from_ms(5_000)) is None


def test_funding_is_for_perpetuals_and_not_of_the_future(venue: SimulatedVenue, clock: SteppedClock) -> None:
    start, end = from_ms(NOW - 3 * DAY_MS), from_ms(NOW + 9 * DAY_MS)
    assert venue.funding(venue.instrument("BTC", "spot"), start, end) == []
    rates = venue.funding(venue.instrument("BTC"), start, end)
    assert len(rates) == 9
    assert rates[-1].time_ms <= NOW
    clock.set(rates[-1].time_ms + 8 * HOUR_MS)
    assert len(venue.funding(venue.instrument("BTC"), start, end)) == 10
