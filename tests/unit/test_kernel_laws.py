"""Laws over random markets: the kernel and the PaperBroker agree, money is conserved, nothing sees ahead."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from domain.market import Bars, MaintenanceTier
from domain.times import HOUR_MS, MINUTE_MS
from domain.trading import Reason
from simulation.kernel import simulate
from simulation.result import CoinInput, SimInput, SimResult
from tests.fakes.candle_tables import START, BrokerRun, run_kernel

TIERS = (MaintenanceTier(500, 0.005), MaintenanceTier(5_000, 0.02, 7.5), MaintenanceTier(1e9, 0.1, 407.5))


def random_bars(rng: np.random.Generator, times: np.ndarray, move: float) -> Bars:
    """A walk with gaps between close and open; whole ticks, so that levels are sometimes just touched."""
    n = len(times)
    close = 100 * np.exp(np.cumsum(rng.normal(0, move, n)))
    open_ = np.concatenate(([100.0], close[:-1])) * np.exp(rng.normal(0, move / 2, n) * (rng.random(n) < 0.3))
    high = np.maximum(open_, close) * (1 + np.abs(rng.normal(0, move, n)))
    low = np.minimum(open_, close) * (1 - np.minimum(np.abs(rng.normal(0, move, n)), 0.9))
    columns = [np.maximum(np.round(column, 1), 0.1) for column in (open_, high, low, close)]
    return Bars(times, *columns, np.ones(n))


def random_coin(rng: np.random.Generator, name: str, rows: int, options: dict[str, Any]) -> CoinInput:
    kept = rng.random(rows) < options["density"]
    kept[rng.integers(rows)] = True
    times = START + np.flatnonzero(kept).astype(np.int64) * HOUR_MS
    bars = random_bars(rng, times, options["move"])
    signals = rng.choice([-1, 0, 1], len(times), p=[0.2, 0.6, 0.2]).astype(np.int8)
    more: dict[str, Any] = {}
    if options["funding"]:
        count = int(rng.integers(0, rows))
        at = np.sort(rng.choice(rows * 4, min(count, rows * 4), replace=False)) * 15 * MINUTE_MS
        late = rng.integers(0, 60_000, len(at)) * (rng.random(len(at)) < 0.5)
        more["funding_times"] = START + at + late
        more["funding_rates"] = rng.normal(0, options["funding"], len(at))
        if rng.random() < 0.3:
            more["short_funding_rates"] = np.zeros(len(at))
    if options["marks"]:
        there = rng.random(len(times)) < 0.8
        more["marks"] = random_bars(rng, times[there], options["move"]) if there.any() else None
    if options["detail"]:
        finer = (times[:, None] + np.arange(2) * 30 * MINUTE_MS).ravel()
        more["detail"] = random_bars(rng, finer, options["move"])
    return CoinInput(
        name,
        bars,
        signals,
        size_percent=float(rng.choice([5.0, 33.3, 100.0])),
        leverage=float(rng.choice(options["leverages"])),
        mmr=float(rng.choice([0.004, 0.01, 0.05])),
        tiers=TIERS if rng.random() < 0.3 else (),
        **more,
    )


@st.composite
def markets(draw: st.DrawFn) -> SimInput:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(2, 60))
    options = {
        "density": draw(st.sampled_from([1.0, 0.8])),
        "move": draw(st.sampled_from([0.005, 0.03, 0.15])),
        "funding": draw(st.sampled_from([0.0, 0.001, 0.05])),
        "marks": draw(st.booleans()),
        "detail": draw(st.booleans()),
        "leverages": draw(st.sampled_from([[1.0], [1.0, 3.0], [20.0, 75.0]])),
    }
    coins = tuple(random_coin(rng, name, rows, options) for name in "ABC"[: draw(st.integers(1, 3))])
    inputs = SimInput(
        coins,
        HOUR_MS,
        initial_capital=draw(st.sampled_from([50.0, 10_000.0])),
        fee_rate=draw(st.sampled_from([0.0, 0.001, 0.02])),
        slippage_rate=draw(st.sampled_from([0.0, 0.0005, 0.02])),
        direction=draw(st.sampled_from(["long", "short", "both"])),
        stop_loss_percent=draw(st.sampled_from([0.0, 1.0, 5.0])),
        take_profit_percent=draw(st.sampled_from([0.0, 2.0, 10.0])),
        trailing_stop_percent=draw(st.sampled_from([0.0, 3.0])),
    )
    note(f"{rows} rows, {options}, {replace(inputs, coins=())}")
    return inputs


@given(markets(), st.booleans())
def test_kernel_and_broker_agree(inputs: SimInput, restarts: bool) -> None:
    kernel = run_kernel(inputs)
    broker = BrokerRun(inputs, restarts=restarts).run()
    # A lucky account at 75x may grow to many millions: the capital is then what it had at its best.
    near = {"rel": 1e-9, "abs": 1e-9 * max(inputs.initial_capital, *kernel.equity)}
    assert broker.equity == pytest.approx(kernel.equity, **near)
    assert [broker.cash, broker.fees, broker.funding] == pytest.approx(
        [kernel.cash, kernel.fees, kernel.funding], **near
    )
    key = "entry_time_ms", "exit_time_ms", "coin", "side", "reason"
    ours = sorted(kernel.trades, key=lambda trade: [str(getattr(trade, name)) for name in key])
    theirs = sorted(broker.trades, key=lambda trade: [str(getattr(trade, name)) for name in key])
    assert [[getattr(t, name) for name in key] for t in ours] == [[getattr(t, name) for name in key] for t in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        for name in ("entry_price", "exit_price", "quantity", "leverage", "fee", "funding", "pnl", "pnl_percent"):
            assert getattr(mine, name) == pytest.approx(getattr(other, name), **near), name


@given(markets())
def test_money_is_conserved(inputs: SimInput) -> None:
    run = BrokerRun(inputs)
    outcome = run.run()
    near = {"rel": 1e-10, "abs": 1e-10 * max(inputs.initial_capital, *outcome.equity)}
    refs: dict[str, float] = defaultdict(float)
    sums: dict[str, float] = defaultdict(float)
    for entry in run.journal.entries:
        refs[entry.ref] += entry.amount
        sums[entry.account] += entry.amount
    assert list(refs.values()) == pytest.approx([0.0] * len(refs), **near)
    account = run.broker.account()
    assert sums["cash"] == pytest.approx(account.cash, **near)
    assert sums["margin"] == pytest.approx(account.margin_used, **near)
    assert sums["fees"] == pytest.approx(account.total_fees, **near)
    assert -sums["funding"] == pytest.approx(account.total_funding, **near)
    assert -sums["capital"] == inputs.initial_capital
    assert account.total_value == pytest.approx(
        account.initial_capital + account.realized_pnl + account.unrealized_pnl, **near
    )
    # What the trade list says adds up to the account, open positions included.
    assert account.total_value == pytest.approx(inputs.initial_capital + sum(t.pnl for t in outcome.trades), **near)
    assert {coin: p.margin for coin, p in run.journal.positions.items()} == {
        coin: p.margin for coin, p in account.positions.items()
    }


@given(markets())
def test_no_close_returns_less_than_zero(inputs: SimInput) -> None:
    run = BrokerRun(inputs)
    outcome = run.run()
    returned = [e.amount for e in run.journal.entries if e.account == "cash" and e.ref.startswith("fill:")]
    closes = {f"fill:{fill.client_id}:{fill.sequence}" for fill in run.journal.fills if not fill.opens}
    assert all(e.amount >= 0 for e in run.journal.entries if e.account == "cash" and e.ref in closes)
    assert outcome.cash >= -1e-9 * max(inputs.initial_capital, *outcome.equity)
    assert len(returned) <= len(run.journal.fills)
    for trade in outcome.trades:
        if trade.reason is not Reason.OPEN:
            paid_in = trade.quantity * trade.entry_price / trade.leverage if trade.leverage else 0.0
            assert trade.pnl >= -(paid_in + trade.fee + abs(trade.funding)) * (1 + 1e-9) - 1e-9


def seen_by(result: SimResult, row: int) -> tuple[Any, ...]:
    """All that had happened by the close of `row`."""
    assert result.equity is not None
    now, trades = result.times[row], result.trades
    entries = sorted(zip(trades.coin, trades.side, trades.entry_time, trades.entry_price, trades.quantity, strict=True))
    exits = sorted(
        zip(trades.coin, trades.exit_time, trades.exit_price, trades.pnl, trades.reason, trades.is_closed, strict=True)
    )
    return (
        [entry for entry in entries if entry[2] <= now],
        [one[:5] for one in exits if one[1] <= now and one[5]],
        result.equity[: row + 1].tolist(),
        result.cash[: row + 1].tolist(),
    )


@given(markets(), st.sampled_from(["next_open", "close"]), st.data())
def test_what_comes_later_changes_nothing_before(inputs: SimInput, fill: Any, data: st.DataObject) -> None:
    inputs = replace(inputs, fill_price=fill)
    result = simulate(inputs)
    row = data.draw(st.integers(0, len(result.times) - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))

    def other_future(coin: CoinInput) -> CoinInput:
        later = coin.bars.time > result.times[row]
        factor = np.where(later, np.exp(rng.normal(0, 0.1)), 1.0)
        bars = Bars(coin.bars.time, *(column * factor for column in coin.bars.columns()[1:5]), coin.bars.volume)
        signals = np.where(later, rng.choice([-1, 0, 1], len(later)), coin.signals).astype(np.int8)
        return replace(coin, bars=bars, signals=signals)

    changed = simulate(replace(inputs, coins=tuple(other_future(coin) for coin in inputs.coins)))
    assert seen_by(changed, row) == seen_by(result, row)


@given(markets(), st.sampled_from(["next_open", "close", "mid"]))
def test_a_lean_run_is_the_same_run(inputs: SimInput, fill: Any) -> None:
    whole = simulate(replace(inputs, fill_price=fill))
    lean = simulate(replace(inputs, fill_price=fill, lean=True))
    assert lean.equity is None
    assert whole.equity is not None
    for name in ("final_value", "final_cash", "total_fees", "total_funding", "max_drawdown", "held_rows"):
        assert getattr(lean, name) == getattr(whole, name)
    assert lean.trade_rows() == whole.trade_rows()
    assert np.array_equal(lean.day_equity, whole.day_equity)
    assert whole.equity[-1] == whole.final_value == whole.day_equity[-1]
    assert whole.cash[-1] == whole.final_cash
    peaks = np.maximum.accumulate(whole.equity)
    assert whole.max_drawdown == pytest.approx(np.max((peaks - whole.equity) / peaks) * 100, abs=1e-9)
    assert whole.final_value == pytest.approx(
        inputs.initial_capital + whole.trades.pnl.sum(), abs=1e-9 * whole.equity.max()
    )
