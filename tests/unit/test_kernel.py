"""The kernel over several coins, its curve, totals and inputs; tables of one coin are in test_bar_order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from domain.errors import InvalidValue
from domain.market import Bars, MaintenanceTier
from domain.times import DAY_MS, HOUR_MS
from domain.trading import Reason, Side
from simulation.kernel import simulate, warm_up
from simulation.result import CoinInput, SimInput, day_marks
from tests.fakes.candle_tables import START, BrokerRun, Outcome, coin, finer, hour, marks_of, run_broker, run_kernel

both_ways = pytest.mark.parametrize("run", [run_kernel, run_broker], ids=["kernel", "broker"])


def pool(*coins: CoinInput, **options: Any) -> SimInput:
    return SimInput(coins, **{"step_ms": HOUR_MS, "initial_capital": 1000.0, "fee_rate": 0.0, **options})


def short_form(outcome: Outcome) -> set[tuple[str, str, int, float, int, float, str]]:
    return {
        (t.coin, t.side.value, hour(t.entry_time_ms), t.entry_price, hour(t.exit_time_ms), t.exit_price, t.reason.value)
        for t in outcome.trades
    }


@both_ways
def test_closes_come_before_opens_whatever_the_pool_says(run: Any) -> None:
    """B, later in the pool, pays for A at the same open."""
    a = coin("A", "10 10 10 10 .\n10 10 10 10 b\n10 10 10 10 .")
    b = coin("B", "10 10 10 10 b\n10 10 10 10 s\n20 20 20 20 .")
    outcome = run(pool(a, b))
    assert short_form(outcome) == {("B", "long", 1, 10, 2, 20, "signal"), ("A", "long", 2, 10, 2, 10, "open")}
    assert {t.coin: t.quantity for t in outcome.trades} == {"B": 100, "A": 200}


@both_ways
def test_opens_in_the_order_of_the_pool(run: Any) -> None:
    table = "10 10 10 10 b\n10 10 10 10 .\n"
    for names in ("AB", "BA"):
        outcome = run(pool(*(coin(name, table) for name in names)))
        assert [t.coin for t in outcome.trades] == [names[0]]
        assert outcome.cash == 0


@both_ways
def test_equity_at_the_open_counts_what_others_gained_and_the_fees_paid_there(run: Any) -> None:
    """1000; A takes half: 500, fee 50. At the next open A's coins doubled: equity 450 + 500 + 500 = 1450. B takes
    10 % of it: 145, fee 14.5. C, after it, 10 % of 1450 - 14.5: 143.55."""
    a = coin("A", "10 10 10 10 b\n10 10 10 10 .\n20 20 20 20 .", size_percent=50)
    b = coin("B", "10 10 10 10 .\n10 10 10 10 b\n10 10 10 10 .", size_percent=10)
    c = coin("C", "10 10 10 10 .\n10 10 10 10 b\n10 10 10 10 .", size_percent=10)
    outcome = run(pool(a, b, c, fee_rate=0.1))
    assert {t.coin: t.quantity for t in outcome.trades} == pytest.approx({"A": 50, "B": 14.5, "C": 14.355})


@both_ways
def test_a_coin_without_a_bar_counts_at_its_last_close(run: Any) -> None:
    """A has no bar at hour 2: it counts at 30, the close before, not at its next open of 99."""
    a = coin("A", "10 10 10 10 b\n10 30 10 30 .\n-\n99 99 99 99 .", size_percent=50)
    b = coin("B", "10 10 10 10 .\n10 10 10 10 b\n10 10 10 10 .\n10 10 10 10 .", size_percent=10)
    outcome = run(pool(a, b))
    # 500 cash + 50 x 30
    assert {t.coin: t.quantity for t in outcome.trades} == pytest.approx({"A": 50, "B": 20})
    assert outcome.equity == pytest.approx([1000, 2000, 2000, 1000 - 500 + 50 * 99])


@both_ways
def test_a_coin_without_a_bar_keeps_its_order_waiting(run: Any) -> None:
    a = coin("A", "10 10 10 10 b\n-\n-\n40 40 40 40 .")
    b = coin("B", "10 10 10 10 .\n10 10 10 10 .\n10 10 10 10 .\n10 10 10 10 .")
    assert short_form(run(pool(a, b))) == {("A", "long", 3, 40, 3, 40, "open")}


@both_ways
def test_a_reversal_waits_whole_and_others_go_first(run: Any) -> None:
    a = coin("A", "10 10 10 10 b\n10 10 10 10 s\n-\n40 40 40 40 .", size_percent=50)
    b = coin("B", "10 10 10 10 .\n10 10 10 10 b\n10 10 10 10 .\n10 10 10 10 .", size_percent=50)
    outcome = run(pool(a, b, direction="both"))
    assert short_form(outcome) == {
        ("A", "long", 1, 10, 3, 40, "signal"),
        ("A", "short", 3, 40, 3, 40, "open"),
        ("B", "long", 2, 10, 3, 10, "open"),
    }
    # A closed at 4 x 500; the equity then is 2500, half of it on A
    assert {(t.coin, t.side): t.quantity for t in outcome.trades}[("A", Side.SHORT)] == pytest.approx(1250 / 40)


@both_ways
def test_each_coin_has_its_own_terms_and_funding(run: Any) -> None:
    table = "10 10 10 10 b\n10 10 10 10 .\n10 10 10 10 s\n10 10 10 10 ."
    a = coin("A", table, {2: 0.01}, size_percent=20, leverage=2)
    b = coin("B", table, {2.5: -0.02}, size_percent=10, leverage=5)
    outcome = run(pool(a, b))
    got = {t.coin: (t.quantity, t.leverage, t.funding) for t in outcome.trades}
    assert got["A"] == pytest.approx((40, 2, -4))
    assert got["B"] == pytest.approx((50, 5, 10))
    assert outcome.funding == pytest.approx(6)
    assert outcome.equity == pytest.approx([1000, 1000, 1006, 1006])


@both_ways
def test_a_coin_that_ends_early_stays_open_at_its_last_close(run: Any) -> None:
    a = coin("A", "10 10 10 10 b\n10 12 10 12 s\n-\n-", size_percent=50, funding={3: 0.5})
    b = coin("B", "10 10 10 10 .\n10 10 10 10 .\n10 10 10 10 .\n10 10 10 10 .")
    outcome = run(pool(a, b))
    assert short_form(outcome) == {("A", "long", 1, 10, 1, 12, "open")}
    assert outcome.equity == [1000, 1100, 1100, 1100]


def test_the_curve_is_taken_at_the_closes_and_so_is_the_drawdown() -> None:
    table = "100 100 100 100 b\n100 120 60 110 .\n110 110 50 88 .\n88 100 80 99 s\n120 120 120 120 ."
    result = simulate(pool(coin("A", table)))
    assert result.equity is not None
    assert result.equity.tolist() == [1000, 1100, 880, 990, 1200]
    assert result.max_drawdown == pytest.approx(20)
    assert result.cash.tolist() == [1000, 0, 0, 0, 1200]
    assert result.positions_value.tolist() == [0, 1100, 880, 990, 0]
    assert (result.held_rows, result.final_value, result.final_cash) == (3, 1200, 1200)
    assert result.times.tolist() == [START + i * HOUR_MS for i in range(5)]


def test_a_close_fill_shows_in_the_next_close() -> None:
    """What is decided at a close and filled at it comes after that close was recorded."""
    table = "100 100 100 100 b\n100 110 100 110 s\n50 50 50 50 ."
    result = simulate(pool(coin("A", table), fill_price="close", fee_rate=0.25))
    assert result.equity is not None
    assert result.equity == pytest.approx([1000, 880, 660])


def test_a_trailing_stop_at_close_fills_starts_from_the_fill() -> None:
    table = "100 200 100 100 b\n100 101 91 100 .\n100 101 89 100 ."
    result = simulate(pool(coin("A", table), fill_price="close", trailing_stop_percent=10))
    (trade,) = result.trade_rows()
    # best 100 at first, 101 after the first bar held
    assert (trade.exit_price, hour(trade.exit_time_ms)) == (pytest.approx(90.9), 2)


def test_a_mid_fill_has_not_seen_its_open() -> None:
    """In at 100, the middle of 80..120; the open of 85 lies beyond the stop of 95: the stop fills at 95."""
    table = "100 100 100 100 b\n85 120 80 110 .\n110 110 110 110 ."
    (trade,) = simulate(pool(coin("A", table), fill_price="mid", stop_loss_percent=5)).trade_rows()
    assert (trade.entry_price, trade.exit_price, trade.reason) == (100, 95, Reason.STOP_LOSS)


def test_day_marks_are_the_last_closes_of_utc_days() -> None:
    hours = np.array([22, 23, 24, 25, 80], dtype=np.int64)
    ends, rows = day_marks(START + hours * HOUR_MS, HOUR_MS)
    assert ((ends - START) // DAY_MS).tolist() == [1, 2, 3, 4]
    assert rows.tolist() == [1, 3, 3, 4]
    # a week's bar closes with its Sunday
    ends, rows = day_marks(np.array([START, START + 7 * DAY_MS]), 7 * DAY_MS)
    assert len(ends) == 8
    assert ((ends[0] - START) // DAY_MS, rows.tolist()) == (7, [0] * 7 + [1])


def test_a_run_gives_day_marks() -> None:
    table = "\n".join(["100 100 100 100 b"] + [f"{p} {p} {p} {p} ." for p in range(101, 150)])
    result = simulate(pool(coin("A", table)))
    assert result.equity is not None
    assert result.day_equity.tolist() == [result.equity[i] for i in (23, 47, 49)]
    lean = simulate(replace(pool(coin("A", table)), lean=True))
    assert lean.day_equity.tolist() == result.day_equity.tolist()


def test_long_stretches_agree_with_the_broker_bar_by_bar() -> None:
    """More rows than are looked ahead at once, over day ends, with few events."""
    rng = np.random.default_rng(5)
    n = 3_000
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.004, n))), 2)
    open_ = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.998
    times = START + np.arange(n, dtype=np.int64) * HOUR_MS
    signals = np.zeros(n, dtype=np.int8)
    signals[[3, 1200, 1300, 2600, n - 1]] = [1, -1, 1, 1, -1]
    one = CoinInput(
        "A",
        Bars(times, open_, high, low, close, close),
        signals,
        size_percent=40,
        leverage=3,
        funding_times=times[::500],
        funding_rates=np.full(6, 0.001),
    )
    other = replace(one, coin="B", signals=np.roll(signals, 137))
    for options in ({}, {"stop_loss_percent": 6, "take_profit_percent": 9}, {"trailing_stop_percent": 8}):
        inputs = pool(one, other, fee_rate=0.001, direction="both", **options)
        kernel, broker = run_kernel(inputs), BrokerRun(inputs).run()
        assert kernel.equity == pytest.approx(broker.equity, rel=1e-12)
        assert len(kernel.trades) == len(broker.trades) > 2


def test_read_only_and_strided_columns_are_taken_as_they_are() -> None:
    inputs = pool(coin("A", "10 10 10 10 b\n10 10 10 10 .\n20 20 20 20 ."))
    bars = inputs.coins[0].bars
    wide = np.repeat(np.column_stack(bars.columns()[1:]), 2, axis=0)[::2]
    for column in bars.columns():
        column.flags.writeable = False
    strided = Bars(bars.time, *wide.T)
    result = simulate(replace(inputs, coins=(replace(inputs.coins[0], bars=strided),)))
    assert result.final_value == simulate(inputs).final_value == 2000


def test_no_coin_no_bar_no_run() -> None:
    empty = CoinInput("A", Bars.empty(), np.empty(0, dtype=np.int8))
    for coins in ((), (empty,)):
        with pytest.raises(InvalidValue, match="no bar"):
            simulate(pool(*coins))
    # beside a coin that has bars an empty one is harmless
    whole = coin("B", "10 10 10 10 b\n10 10 10 10 .\n20 20 20 20 .")
    assert simulate(pool(empty, whole)).final_value == 2000


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"initial_capital": 0.0}, "initial_capital"),
        ({"fee_rate": 1.0}, "fee_rate"),
        ({"slippage_rate": -0.1}, "fee_rate"),
        ({"direction": "up"}, "direction"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        simulate(replace(pool(coin("A", "10 10 10 10 b")), **change))
    assert caught.value.field == field


def test_signals_must_fit_the_bars() -> None:
    one = coin("A", "10 10 10 10 b\n10 10 10 10 .")
    with pytest.raises(InvalidValue, match="1 signals for 2 bars"):
        simulate(pool(replace(one, signals=one.signals[:1])))
    with pytest.raises(InvalidValue, match="leverage"):
        simulate(pool(replace(one, leverage=0.0)))


def test_warm_up_leaves_it_ready() -> None:
    from simulation.loop import cached_run

    warm_up()
    assert len(cached_run.signatures) == 1


def test_more_trades_than_the_first_tables_hold() -> None:
    n = 1_000
    flat = np.full(n, 10.0)
    times = START + np.arange(n, dtype=np.int64) * HOUR_MS
    signals = np.where(np.arange(n) % 2 == 0, 1, -1).astype(np.int8)
    result = simulate(pool(CoinInput("A", Bars(times, flat, flat, flat, flat, flat), signals), direction="both"))
    assert len(result.trades) == n - 1
    assert result.final_value == 1000
    assert len(result.trades.rows(("A",))) == n - 1
    assert int(result.trades.is_closed.sum()) == n - 2


def test_one_compiled_variant_serves_every_kind_of_input() -> None:
    """A second variant would cost its first caller ten seconds of compiling."""
    from simulation.loop import cached_run

    table = "10 10 10 10 b\n-\n10 10 10 10 ."
    marks, detail = marks_of("10 10 10 10"), finer(0, 30, "10 10 10 10")
    tier = MaintenanceTier(1e9, 0.01)
    one = coin("A", table, {2: 0.1}, marks=marks, detail=detail, tiers=(tier,), leverage=2)
    for inputs in (pool(one), pool(coin("B", table)), pool(one, coin("B", "10 10 10 10 ."), lean=True)):
        simulate(inputs)
    frozen = replace(one.bars, time=one.bars.time.copy())
    for column in frozen.columns():
        column.flags.writeable = False
    simulate(pool(replace(one, bars=frozen, signals=one.signals.astype(np.int64))))
    assert len(cached_run.signatures) == 1
