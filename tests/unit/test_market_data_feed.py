"""LiveFeed: no step twice, none lost, wherever the calls fall."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokers.paper import AccountTerms, MemoryJournal, PaperBroker
from data_aggregator import MarketData
from domain.errors import NoSource, Retryable
from domain.market import FundingRate
from domain.ports import Feed
from domain.times import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, WEEK_MS, ceil_ms, floor_ms
from domain.trading import Action, Decision, FundingDue, Intent, Prices
from runtime.clock import SteppedClock
from runtime.feed import ABSENCE_MS, LiveFeed
from store.candles import CandleStore
from tests.candle_files import START, bars_at, open_store
from tests.fakes.market import ScriptedTrader
from tests.fakes.venue import FakeVenue
from trading_engine import EngineState, MemoryRecorder, Parts, Terms, TradingEngine
from venues.simulated import SimCoin, SimulatedMarket, SimulatedVenue

SIMULATED = SimulatedMarket(11, [SimCoin("BTC", "Layer1", 1), SimCoin("ETH", "Layer1", 2)])
COINS = ("BTC", "ETH")
EVENING = START + 16 * HOUR_MS  # funding is due at this very minute


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CandleStore]:
    folder: Path = tmp_path_factory.mktemp("feed")
    with open_store(folder) as opened:
        yield opened


def simulated_feed(store: CandleStore, clock: SteppedClock) -> LiveFeed:
    venue = SimulatedVenue(SIMULATED, clock, lambda: COINS)
    return LiveFeed(MarketData({"simulated": venue}, store, clock, workspace_market="simulated"))


def run(feed: LiveFeed, clock: SteppedClock, after_ms: int, calls: list[int]) -> list[Prices]:
    """Calls the feed at these times as an engine does: each goes on where the last step ended."""
    steps: list[Prices] = []
    for now in calls:
        clock.set(now)
        for step in feed.since(COINS, after_ms, now):
            assert after_ms < step.end_ms <= now
            steps.append(step)
            after_ms = step.end_ms
    return steps


def funding_of(steps: list[Prices]) -> list[FundingDue]:
    return [due for step in steps for due in step.funding]


def check_steps(steps: list[Prices], after_ms: int) -> None:
    """In order, apart from each other, all coins in each, prices those of the market."""
    end = after_ms
    for step in steps:
        assert step.time_ms >= end or step.time_ms == step.end_ms > end
        assert set(step.bars) == set(COINS)
        for coin, bar in step.bars.items():
            assert (bar.coin, bar.time_ms) == (coin, step.time_ms)
            if step.end_ms == step.time_ms:
                second = ceil_ms(step.time_ms, SECOND_MS)
                assert bar.open == bar.high == bar.low == bar.close == SIMULATED.price_at(coin, second)
                assert bar.bid is not None
                assert bar.ask is not None
                assert bar.bid < bar.close < bar.ask
            elif step.end_ms != step.time_ms + MINUTE_MS:
                opens = floor_ms(step.time_ms, MINUTE_MS)
                assert step.end_ms < opens + MINUTE_MS or step.end_ms == opens + MINUTE_MS
                first, last = ((time - opens + 999) // SECOND_MS for time in (step.time_ms, step.end_ms))
                path = SIMULATED.seconds(coin, opens)[first:last]
                assert (bar.open, bar.high, bar.low, bar.close) == (path[0], path.max(), path.min(), path[-1])
            else:
                candle = SIMULATED.bars(coin, "1m", step.time_ms, step.time_ms + 1).candle(0)
                assert (bar.open, bar.high, bar.low, bar.close) == (candle.open, candle.high, candle.low, candle.close)
        end = step.end_ms


GAPS = st.one_of(
    st.integers(1, 3_000),
    st.integers(1, 200).map(lambda n: n * SECOND_MS),
    st.integers(1, 30).map(lambda n: n * MINUTE_MS),
    st.sampled_from([ABSENCE_MS, ABSENCE_MS + 1, HOUR_MS, 8 * HOUR_MS, DAY_MS + 7]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    begin=st.one_of(st.integers(-3_600_000, 3_600_000), st.integers(-60, 60).map(lambda n: n * MINUTE_MS)),
    gaps=st.lists(GAPS, min_size=1, max_size=12),
)
def test_no_step_is_lost_or_doubled(store: CandleStore, begin: int, gaps: list[int]) -> None:
    start = EVENING + begin
    calls, now = [], start
    for gap in gaps:
        now += gap
        calls.append(now)
    clock = SteppedClock(start)
    steps = run(simulated_feed(store, clock), clock, start, calls)
    check_steps(steps, start)
    # Time is covered: no second between two steps was left out, but where one quote bridges a short absence.
    ends = [start, *(step.end_ms for step in steps)]
    for step, end in zip(steps, ends, strict=False):
        is_next = step.time_ms in (end, floor_ms(end, SECOND_MS) + SECOND_MS)
        assert is_next or (step.time_ms == step.end_ms and step.time_ms - end <= ABSENCE_MS)
    # The last second's price has arrived.
    assert not steps or now - steps[-1].end_ms <= SECOND_MS + 1
    # Each payment once, on the step that its time belongs to.
    paid = funding_of(steps)
    end = steps[-1].end_ms if steps else start
    reach = end if end % MINUTE_MS == 0 else end + 1
    owed = start if start % MINUTE_MS == 0 else start + 1
    wanted = [
        FundingDue(coin, rate.time_ms, rate.rate) for coin in COINS for rate in SIMULATED.funding(coin, owed, reach)
    ]
    assert sorted(paid, key=lambda due: (due.time_ms, due.coin)) == sorted(
        wanted, key=lambda due: (due.time_ms, due.coin)
    )
    for step in steps:
        assert all(due.time_ms < max(step.end_ms, step.time_ms + 1) for due in step.funding)


@pytest.mark.parametrize("cuts", [[], [3], [1, 2, 3, 4], [2, 2, 5]])
def test_a_catch_up_may_be_cut_anywhere(store: CandleStore, cuts: list[int]) -> None:
    """A process that dies while it catches up goes on where the last step that it stored ended."""
    now = EVENING + 6 * MINUTE_MS + 20 * SECOND_MS
    after = EVENING - 3 * MINUTE_MS
    clock = SteppedClock(now)
    feed = simulated_feed(store, clock)
    whole = list(feed.since(COINS, after, now))
    pieces: list[Prices] = []
    for cut in [*cuts, 1000]:
        for step, _ in zip(feed.since(COINS, after, now), range(cut), strict=False):
            pieces.append(step)
            after = step.end_ms
    assert [step.time_ms for step in whole] == [
        *range(EVENING - 3 * MINUTE_MS, EVENING + 6 * MINUTE_MS, MINUTE_MS),
        EVENING + 6 * MINUTE_MS,
        now,
    ]
    candles = [step for step in pieces if step.time_ms != step.end_ms]
    assert pieces == [*candles, whole[-1]]
    assert candles == whole[: len(candles)]
    assert funding_of(pieces) == funding_of(whole)
    assert {due.time_ms for due in funding_of(whole)} == {EVENING}


def test_an_absence_is_covered_to_the_second(store: CandleStore) -> None:
    """A stop touched in the rest of the minute that an absence began in fills there, not at a later price."""
    after, now = EVENING - 3 * MINUTE_MS + 17 * SECOND_MS, EVENING + 42 * SECOND_MS
    steps = list(simulated_feed(store, SteppedClock(now)).since(COINS, after, now + 300))
    assert [(step.time_ms - EVENING, step.end_ms - EVENING) for step in steps] == [
        (-162_000, -120_000),
        (-120_000, -60_000),
        (-60_000, 0),
        (0, 41_999),
        (42_000, 42_000),
    ]
    seen = [SIMULATED.price_at("BTC", time) for time in range(after + SECOND_MS, now + 1, SECOND_MS)]
    assert max(step.bars["BTC"].high for step in steps) == max(seen)
    assert min(step.bars["BTC"].low for step in steps) == min(seen)
    assert {due.time_ms for due in steps[3].funding} == {EVENING}


def test_a_short_absence_is_one_quote(store: CandleStore) -> None:
    clock = SteppedClock(EVENING + 30_500)
    feed: Feed = simulated_feed(store, clock)
    [step] = feed.since(COINS, EVENING - 30_000, clock.now_ms())
    assert step.time_ms == step.end_ms == EVENING + 30_000
    assert [due.time_ms for due in step.funding] == [EVENING, EVENING]


def test_the_same_second_is_no_news(store: CandleStore) -> None:
    clock = SteppedClock(EVENING + 30_500)
    feed = simulated_feed(store, clock)
    [step] = feed.since(COINS, EVENING, clock.now_ms())
    clock.advance(400)
    assert list(feed.since(COINS, step.end_ms, clock.now_ms())) == []
    clock.advance(100)
    [news] = feed.since(COINS, step.end_ms, clock.now_ms())
    assert news.end_ms == step.end_ms + 1000


def test_a_quote_of_a_full_minute_leaves_its_funding_to_the_next(store: CandleStore) -> None:
    clock = SteppedClock(EVENING)
    feed = simulated_feed(store, clock)
    [step] = feed.since(COINS, EVENING - 10_000, EVENING)
    assert (step.end_ms, step.funding) == (EVENING - 1, ())
    clock.advance(1_000)
    [after] = feed.since(COINS, step.end_ms, clock.now_ms())
    assert {due.coin for due in after.funding} == set(COINS)


def test_a_decision_at_the_minute_of_a_payment_does_not_lose_it(store: CandleStore) -> None:
    clock = SteppedClock(EVENING - 10_000)
    broker = PaperBroker(AccountTerms(10_000.0, COINS), MemoryJournal(), opened_ms=clock.now_ms())
    broker.submit(Intent("BTC", Action.LONG, "0" * 32, position_size_percent=20.0))
    buy = ScriptedTrader(lambda view: [Decision("ETH", Action.LONG, position_size_percent=20.0)])
    parts = Parts(clock, simulated_feed(store, clock), buy, (), broker, MemoryRecorder())
    engine = TradingEngine(parts, Terms(COINS, "1m"), EngineState(clock.now_ms()))
    for now in (EVENING - 5_000, EVENING - 1_000):
        clock.set(now)
        engine.settle()
    clock.set(EVENING + 5)  # when a cycle begins: the quote is that of the full minute
    assert len(engine.step().orders) == 1
    clock.set(EVENING + 1_500)
    (fill,) = engine.settle()
    assert (fill.coin, fill.time_ms) == ("ETH", EVENING + SECOND_MS)
    [rate] = SIMULATED.funding("BTC", EVENING, EVENING + 1)
    held = broker.account().positions["BTC"]
    assert held.funding == pytest.approx(-held.quantity * SIMULATED.price_at("BTC", EVENING) * rate.rate, rel=0.01)
    assert broker.account().positions["ETH"].funding == 0


def test_weeks_are_read_day_by_day(store: CandleStore) -> None:
    now = EVENING + 2 * WEEK_MS + SECOND_MS
    clock = SteppedClock(now)
    steps = simulated_feed(store, clock).since(COINS, EVENING, now)
    assert isinstance(steps, Iterator)
    first = next(steps)
    assert first.time_ms == EVENING
    rest = list(steps)
    assert len(rest) == 2 * WEEK_MS // MINUTE_MS + 1  # minutes, less the first, the last second and the quote
    assert len(funding_of([first, *rest])) == 2 * (14 * 3 + 1)
    check_steps([first, *rest[:-2:500], *rest[-2:]], EVENING)


def test_bars_are_closed_ones(store: CandleStore) -> None:
    now = EVENING + 90_000
    feed = simulated_feed(store, SteppedClock(now + DAY_MS))
    for interval, step in (("1m", MINUTE_MS), ("1h", HOUR_MS), ("1w", WEEK_MS)):
        bars = feed.bars("BTC", interval, 7, now)
        last = floor_ms(now, step)
        assert bars.time.tolist() == list(range(last - 7 * step, last, step))
    assert len(feed.bars("BTC", "1w", 100_000, now)) < 1000


# -- venues with holes and troubles -------------------------------------------------------


@pytest.fixture
def fake(store: CandleStore) -> tuple[LiveFeed, FakeVenue, SteppedClock]:
    clock = SteppedClock(EVENING)
    venue = FakeVenue("first", clock)
    return LiveFeed(MarketData({"first": venue}, store, clock, workspace_market="exchanges")), venue, clock


Fake = tuple[LiveFeed, FakeVenue, SteppedClock]


def test_a_stale_quote_is_not_used(fake: Fake) -> None:
    feed, venue, clock = fake
    venue.lag_ms = 10_500
    assert list(feed.since(COINS, EVENING - 60_000, clock.now_ms())) == []
    clock.advance(1_000)
    venue.lag_ms = 9_000
    [step] = feed.since(COINS, EVENING - 60_000, clock.now_ms())
    assert step.end_ms == EVENING - 8_000


def test_a_venue_ahead_of_us_does_not_pull_time_forward(fake: Fake) -> None:
    feed, venue, clock = fake
    clock.advance(500)
    venue.lag_ms = -3_000
    [step] = feed.since(COINS, EVENING - 1_000, clock.now_ms())
    assert step.end_ms == EVENING + 500


def test_funding_waits_for_a_step(fake: Fake) -> None:
    feed, venue, clock = fake
    venue.rates = [FundingRate(EVENING, 0.0001)]
    venue.lag_ms = 60_000
    clock.advance(5_000)
    assert list(feed.since(["BTC"], EVENING - 5_000, clock.now_ms())) == []
    venue.lag_ms = 0
    clock.advance(2_000)
    [step] = feed.since(["BTC"], EVENING - 5_000, clock.now_ms())
    assert step.funding == (FundingDue("BTC", EVENING, 0.0001),)


def test_funding_of_a_day_without_candles_is_not_lost(fake: Fake) -> None:
    feed, venue, clock = fake
    venue.rates = [FundingRate(EVENING + hours * HOUR_MS, 0.0001) for hours in (0, 8, 16, 24, 32)]
    venue.bars = bars_at([0, 1, 26 * 60, 40 * 60], start=EVENING, step=MINUTE_MS)
    clock.advance(2 * DAY_MS)
    steps = list(feed.since(["BTC"], EVENING, clock.now_ms()))
    assert [step.time_ms for step in steps[:-1]] == venue.bars.time.tolist()
    assert [len(step.funding) for step in steps] == [1, 0, 3, 1, 0]


def test_a_coin_that_is_not_listed_is_left_out(fake: Fake) -> None:
    feed, venue, clock = fake
    venue.bars = bars_at(range(10), start=EVENING, step=MINUTE_MS)
    clock.advance(5 * MINUTE_MS + 1)
    steps = list(feed.since(["NOBODY", "BTC"], EVENING, clock.now_ms()))
    assert len(steps) == 6
    assert all(set(step.bars) == {"BTC"} for step in steps)


def test_trouble_is_told_and_what_came_before_stays(fake: Fake) -> None:
    feed, venue, clock = fake
    venue.bars = bars_at(range(48 * 60), start=EVENING, step=MINUTE_MS)
    clock.advance(2 * DAY_MS)
    steps = feed.since(["BTC"], EVENING, clock.now_ms())
    got = [next(steps)]
    venue.down = Retryable("closed")
    with pytest.raises(NoSource):
        got.extend(steps)
    assert got[0].time_ms == EVENING
    venue.down = None
    again = next(iter(feed.since(["BTC"], got[-1].end_ms, clock.now_ms())))
    assert again.time_ms == got[-1].end_ms
