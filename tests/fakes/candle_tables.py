"""Candle tables: a few bars in, trades out, on the kernel and on the PaperBroker.

A table has one line a bar: open high low close, then `b` (buy), `s` (sell) or `.` as decided at
that close. A line `-` is an hour without a bar. Bars are hours from START on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from brokers.paper import AccountTerms, InstrumentTerms, MemoryJournal, PaperBroker
from domain.market import Bars
from domain.times import HOUR_MS, MINUTE_MS
from domain.trading import Action, ClosedTrade, FundingDue, Intent, PriceBar, Prices, Side
from simulation.result import CoinInput, SimInput

START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
SIGNALS = {"b": 1, "s": -1, ".": 0}


@dataclass(frozen=True)
class Outcome:
    """What both ways of running give, in the same words."""

    trades: list[ClosedTrade]
    equity: list[float]
    cash: float
    fees: float
    funding: float
    max_drawdown: float | None = None


def parse_table(table: str) -> tuple[Bars, np.ndarray]:
    times, prices, signals = [], [], []
    for hour, line in enumerate(table.strip().splitlines()):
        cells = line.split()
        if cells == ["-"]:
            continue
        times.append(START + hour * HOUR_MS)
        prices.append([float(cell) for cell in cells[:4]])
        signals.append(SIGNALS[cells[4]])
    o, h, low, c = np.array(prices).T.copy()
    for bar in zip(o, h, low, c, strict=True):
        assert (bar[1], bar[2]) == (max(bar), min(bar)), f"not a bar: {bar}"
    return Bars(np.array(times, dtype=np.int64), o, h, low, c, np.ones(len(o))), np.array(signals, dtype=np.int8)


def marks_of(table: str) -> Bars:
    """Mark candles: a table without signals."""
    lines = [line if line.split() == ["-"] else line + " ." for line in table.strip().splitlines()]
    return parse_table("\n".join(lines))[0]


def finer(hour: int, minutes: int, table: str) -> Bars:
    """Candles of `minutes` from the start of `hour` on."""
    bars = marks_of(table)
    times = START + hour * HOUR_MS + np.arange(len(bars), dtype=np.int64) * minutes * MINUTE_MS
    return replace(bars, time=times)


def coin(name: str, table: str, funding: dict[float, float] | None = None, **options: Any) -> CoinInput:
    """`funding`: hours since START (fractions allowed) to rates."""
    bars, signals = parse_table(table)
    if funding:
        options["funding_times"] = np.array([START + round(h * HOUR_MS) for h in funding], dtype=np.int64)
        options["funding_rates"] = np.array(list(funding.values()))
    return CoinInput(name, bars, signals, **options)


def run_kernel(inputs: SimInput) -> Outcome:
    from simulation.kernel import simulate

    result = simulate(inputs)
    assert result.equity is not None
    assert np.array_equal(result.cash + result.positions_value, result.equity) or np.allclose(
        result.cash + result.positions_value, result.equity, rtol=1e-14
    )
    return Outcome(
        result.trade_rows(),
        result.equity.tolist(),
        result.final_cash,
        result.total_fees,
        result.total_funding,
        result.max_drawdown,
    )


@dataclass
class BrokerRun:
    """Drives a PaperBroker bar by bar as an engine with a rules trader would; fills at the next open only."""

    inputs: SimInput
    journal: MemoryJournal = field(default_factory=lambda: MemoryJournal(keep_entries=True))
    restarts: bool = False

    def __post_init__(self) -> None:
        assert self.inputs.fill_price == "next_open"
        self.broker = PaperBroker(account_terms(self.inputs), self.journal, opened_ms=START - 1)
        self._orders = 0

    def run(self) -> Outcome:
        equity = []
        for row in sorted({int(time) for c in self.inputs.coins for time in c.bars.time}):
            if self.restarts:
                self.broker = PaperBroker(account_terms(self.inputs), self.journal, self.broker.state())
            self.broker.advance(step_at(self.inputs, row))
            equity.append(self.broker.account().total_value)
            for c in self.inputs.coins:
                at = np.flatnonzero(c.bars.time == row)
                if len(at) and c.signals[at[0]]:
                    self.decide(c, int(c.signals[at[0]]))
        account = self.broker.account()
        trades = self.journal.trades + self.broker.open_trades()
        return Outcome(trades, equity, account.cash, account.total_fees, account.total_funding)

    def decide(self, c: CoinInput, signal: int) -> None:
        position = self.broker.account().positions.get(c.coin)
        wanted = Side.LONG if signal > 0 else Side.SHORT
        if position is not None and position.side is wanted:
            return
        allowed = self.inputs.direction in ("both", wanted.value)
        if not allowed and position is None:
            return
        action = (Action.LONG if signal > 0 else Action.SHORT) if allowed else Action.CLOSE
        self._orders += 1
        self.broker.submit(
            Intent(
                c.coin,
                action,
                f"order-{self._orders}",
                c.size_percent,
                c.leverage,
                self.inputs.stop_loss_percent,
                self.inputs.take_profit_percent,
                self.inputs.trailing_stop_percent,
            )
        )


def account_terms(inputs: SimInput) -> AccountTerms:
    return AccountTerms(
        initial_capital=inputs.initial_capital,
        coins=tuple(c.coin for c in inputs.coins),
        fee_rate=inputs.fee_rate,
        slippage_bps=inputs.slippage_rate * 10_000,
        instruments={
            c.coin: InstrumentTerms(tiers=c.tiers) if c.tiers else InstrumentTerms(mmr=c.mmr) for c in inputs.coins
        },
    )


def step_at(inputs: SimInput, row: int) -> Prices:
    """The step of one row: bars, and the funding due until each coin's next bar opens."""
    bars, due = {}, []
    for c in inputs.coins:
        at = np.flatnonzero(c.bars.time == row)
        if not len(at):
            continue
        i = int(at[0])
        bars[c.coin] = _bar(c, i, inputs.step_ms)
        end = int(c.bars.time[i + 1]) if i + 1 < len(c.bars) else row + inputs.step_ms
        if c.funding_times is not None and c.funding_rates is not None:
            for j, (time, rate) in enumerate(zip(c.funding_times.tolist(), c.funding_rates.tolist(), strict=True)):
                if row <= time // MINUTE_MS * MINUTE_MS < end:
                    short = None if c.short_funding_rates is None else float(c.short_funding_rates[j])
                    due.append(FundingDue(c.coin, time, rate, short))
    return Prices(row, row + inputs.step_ms, bars, tuple(sorted(due, key=lambda one: one.time_ms)))


def _bar(c: CoinInput, i: int, step_ms: int) -> PriceBar:
    time = int(c.bars.time[i])
    prices = [float(column[i]) for column in c.bars.columns()[1:5]]
    marks: list[float | None] = [None, None, None]
    if c.marks is not None:
        at = np.flatnonzero(c.marks.time == time)
        if len(at):
            marks = [float(column[at[0]]) for column in (c.marks.open, c.marks.high, c.marks.low)]
    detail = ()
    if c.detail is not None:
        inside = c.detail.between(time, time + step_ms)
        detail = tuple(zip(inside.open.tolist(), inside.high.tolist(), inside.low.tolist(), strict=True))
    return PriceBar(c.coin, time, *prices, mark_open=marks[0], mark_high=marks[1], mark_low=marks[2], detail=detail)


def run_broker(inputs: SimInput) -> Outcome:
    return BrokerRun(inputs).run()


def hour(time_ms: int) -> int:
    return (time_ms - START) // HOUR_MS
