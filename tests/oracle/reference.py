"""A second opinion on money: what DESIGN.md "How money is counted" says, told bar by bar in plain Python.

Written from the text alone and kept apart from the application's arithmetic on purpose: it shares no line with it.
Slow, single-threaded, one dictionary of positions and one number of cash. Times are int milliseconds, rates fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

HOUR = 3_600_000
MINUTE = 60_000
EIGHT_HOURS = 8 * HOUR
DEFAULT_FUNDING = 0.0001
SMALLEST_NOTIONAL = 1.0


@dataclass(frozen=True, slots=True)
class Candle:
    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float = 1.0


@dataclass(frozen=True, slots=True)
class Rules:
    """One run's settings, percentages in percent as in the request."""

    capital: float = 10_000.0
    fee: float = 0.001
    slippage_bps: float = 0.0
    leverage: float = 1.0
    size_percent: float = 100.0
    direction: str = "long"
    fill_price: str = "next_open"
    stop: float = 0.0
    target: float = 0.0
    trailing: float = 0.0
    mmr: float = 0.01
    funding: str = "auto"
    market: str = "spot"
    interval_ms: int = HOUR


@dataclass(slots=True)
class Coin:
    """`signals`: +1, -1, 0 by open time of the bar whose close speaks. `rates`: stored (time, rate), as stamped."""

    name: str
    candles: list[Candle]
    signals: Mapping[int, int]
    marks: Mapping[int, Candle] = field(default_factory=dict)
    rates: list[tuple[int, float]] = field(default_factory=list)
    detail: list[Candle] = field(default_factory=list)


@dataclass(slots=True)
class Position:
    coin: str
    side: int
    quantity: float
    entry: float
    margin: float
    fee: float
    leverage: float
    entry_time: int
    best: float
    paid_in: float
    funding: float = 0.0


@dataclass(slots=True)
class Result:
    trades: list[dict[str, Any]]
    values: list[tuple[int, float, float, float]]
    fees: float

    @property
    def final(self) -> float:
        return self.values[-1][1]

    def closed(self) -> list[dict[str, Any]]:
        return [row for row in self.trades if row["exit_reason"] != "open"]

    def drawdown_percent(self, capital: float) -> float:
        peak, worst = capital, 0.0
        for _, value, _, _ in self.values:
            peak = max(peak, value)
            worst = max(worst, (peak - value) / peak * 100.0)
        return worst


class Simulator:
    """`run()` walks the union of all bars; a coin takes part at the times at which it has a bar."""

    def __init__(self, coins: Sequence[Coin], rules: Rules) -> None:
        self.coins, self.rules = list(coins), rules
        self.cash, self.fees = rules.capital, 0.0
        self.positions: dict[str, Position] = {}
        self.last: dict[str, float] = {}
        self.orders: dict[str, tuple[bool, int]] = {}  # coin: (close what is held, side to open or 0)
        self.trades: list[dict[str, Any]] = []
        self.values: list[tuple[int, float, float, float]] = []

    # -- the walk -------------------------------------------------------------------------

    def run(self) -> Result:
        bars = {coin.name: {candle.time: candle for candle in coin.candles} for coin in self.coins}
        following = {coin.name: {a.time: b.time for a, b in pairwise(coin.candles)} for coin in self.coins}
        for time in sorted({t for of_coin in bars.values() for t in of_coin}):
            here = [(coin, bars[coin.name][time]) for coin in self.coins if time in bars[coin.name]]
            for coin, bar in here:  # 1
                self.settle_funding(coin, bar, time, time + MINUTE)
            for coin, bar in here:  # 2
                self.liquidate_at_open(coin, bar)
            if self.rules.fill_price != "close":  # 3
                self.fill(here, self.open_or_mid)
            for coin, bar in here:  # 4
                until = following[coin.name].get(time, time + self.rules.interval_ms)
                self.settle_funding(coin, bar, time + MINUTE, until)
            for coin, bar in here:  # 5
                self.inside_the_bar(coin, bar)
            for coin, bar in here:  # 6
                self.last[coin.name] = bar.close
                if coin.name in self.positions:
                    held = self.positions[coin.name]
                    held.best = max(held.best, bar.high) if held.side > 0 else min(held.best, bar.low)
            held_value = sum(self.value(p, self.last[name]) for name, p in self.positions.items())
            self.values.append((time, self.cash + held_value, self.cash, held_value))
            for coin, bar in here:
                self.decide(coin, bar)
            if self.rules.fill_price == "close":
                self.fill(here, lambda bar: bar.close)
        self.list_open()
        return Result(self.trades, self.values, self.fees)

    def decide(self, coin: Coin, bar: Candle) -> None:
        """A buy opens a long and closes a short, a sell the other way round, as direction allows; never an add."""
        signal = coin.signals.get(bar.time, 0)
        if signal == 0 or (self.rules.fill_price == "close" and bar.time == coin.candles[-1].time):
            return
        held = self.positions.get(coin.name)
        allowed = self.rules.direction in ("both", "long" if signal > 0 else "short")
        if held is None:
            if allowed:
                self.orders[coin.name] = (False, signal)
        elif held.side != signal:
            self.orders[coin.name] = (True, signal if allowed else 0)

    # -- money ------------------------------------------------------------------------------

    @staticmethod
    def value(position: Position, price: float) -> float:
        return position.margin + position.side * position.quantity * (price - position.entry)

    def slipped(self, price: float, direction: int) -> float:
        return price * (1.0 + direction * self.rules.slippage_bps / 10_000.0)

    def open_or_mid(self, bar: Candle) -> float:
        return (bar.high + bar.low) / 2.0 if self.rules.fill_price == "mid" else bar.open

    def fill(self, here: list[tuple[Coin, Candle]], price: Callable[[Candle], float]) -> None:
        now = {**self.last, **{coin.name: price(bar) for coin, bar in here}}
        wanted: list[tuple[Coin, Candle, int]] = []
        for coin, bar in here:
            close, side = self.orders.pop(coin.name, (False, 0))
            held = self.positions.get(coin.name)
            if close and held is not None:
                self.close(held, self.slipped(price(bar), -held.side), bar.time, "signal")
            if side and coin.name not in self.positions:
                wanted.append((coin, bar, side))
        for coin, bar, side in wanted:
            self.open(coin, side, self.slipped(price(bar), side), bar.time, now)

    def open(self, coin: Coin, side: int, price: float, time: int, now: Mapping[str, float]) -> None:
        rules = self.rules
        equity = self.cash + sum(self.value(p, now[name]) for name, p in self.positions.items())
        margin = equity * rules.size_percent / 100.0
        if margin * (1.0 + rules.fee * rules.leverage) > self.cash:
            margin = self.cash / (1.0 + rules.fee * rules.leverage)
        notional = margin * rules.leverage
        if notional < SMALLEST_NOTIONAL:
            return
        fee = notional * rules.fee
        self.cash -= margin + fee
        self.fees += fee
        self.positions[coin.name] = Position(
            coin.name, side, notional / price, price, margin, fee, rules.leverage, time, price, margin
        )

    def close(self, held: Position, price: float, time: int, reason: str) -> None:
        left = max(0.0, self.value(held, price))  # isolated: never less than zero, the fee cannot take more
        fee = min(left, held.quantity * price * self.rules.fee)
        back = left - fee
        self.fees += fee
        self.leave(held, price, time, reason, fee, back)

    def leave(self, held: Position, price: float, time: int, reason: str, fee: float, back: float) -> None:
        self.cash += back
        del self.positions[held.coin]
        self.row(held, price, time, reason, held.fee + fee, back - held.paid_in - held.fee)

    def row(self, held: Position, price: float, time: int, reason: str, fee: float, pnl: float) -> None:
        self.trades.append({
            "coin": held.coin, "side": "long" if held.side > 0 else "short", "entry_time": held.entry_time,
            "entry_price": held.entry, "exit_time": time, "exit_price": price, "quantity": held.quantity,
            "leverage": held.leverage, "fee": fee, "funding": held.funding, "pnl": pnl,
            "pnl_percent": pnl / held.paid_in * 100.0, "exit_reason": reason,
        })  # fmt: skip

    def list_open(self) -> None:
        for coin in self.coins:
            if coin.name in self.positions:
                held = self.positions[coin.name]
                price = self.last[coin.name]
                pnl = self.value(held, price) - held.paid_in - held.fee
                self.row(held, price, coin.candles[-1].time, "open", held.fee, pnl)

    # -- funding and liquidation ----------------------------------------------------------------

    def settle_funding(self, coin: Coin, bar: Candle, start: int, end: int) -> None:
        """Rates stamped in [start, end), late stamps counted to their full minute, at this bar's open price."""
        held = self.positions.get(coin.name)
        if held is None or self.rules.funding == "none":
            return
        if not (held.side < 0 or held.leverage > 1.0 or self.rules.market == "perp"):
            return
        for rate in self.rates_between(coin, held.side, start, end):
            amount = max(-held.margin, -held.side * held.quantity * bar.open * rate)
            held.margin += amount
            held.funding += amount

    @staticmethod
    def rates_between(coin: Coin, side: int, start: int, end: int) -> list[float]:
        stored = [(time // MINUTE * MINUTE, rate) for time, rate in coin.rates]
        due = [(time, rate) for time, rate in stored if start <= time < end]
        steps = sorted(b - a for (a, _), (b, _) in pairwise(stored))
        middle = len(steps) // 2
        period = int((steps[middle] + steps[-1 - middle]) / 2) if steps else EIGHT_HOURS
        stamp = -(-start // EIGHT_HOURS) * EIGHT_HOURS
        while stamp < end:  # none stored (a period around stored ones is theirs): longs pay, shorts get nothing
            if side > 0 and not (stored and stored[0][0] - period + MINUTE <= stamp < stored[-1][0] + period):
                due.append((stamp, DEFAULT_FUNDING))
            stamp += EIGHT_HOURS
        return [rate for _, rate in sorted(due)]

    def liquidation_price(self, held: Position) -> float:
        value = held.entry * held.quantity
        if held.side > 0:
            return (value - held.margin) / (held.quantity * (1.0 - self.rules.mmr))
        return (value + held.margin) / (held.quantity * (1.0 + self.rules.mmr))

    def liquidate(self, held: Position, opened_at: float, time: int) -> None:
        """The whole margin is lost at the liquidation price, or at an open that lies beyond it."""
        price = self.liquidation_price(held)
        beyond = held.side * (opened_at - price) < 0
        self.leave(held, opened_at if beyond else price, time, "liquidation", 0.0, 0.0)

    def liquidate_at_open(self, coin: Coin, bar: Candle) -> None:
        held = self.positions.get(coin.name)
        if held is None:
            return
        mark = coin.marks.get(bar.time, bar).open
        if held.side * (mark - self.liquidation_price(held)) <= 0.0:
            self.liquidate(held, bar.open, bar.time)

    # -- inside the bar -----------------------------------------------------------------------------

    def inside_the_bar(self, coin: Coin, bar: Candle) -> None:
        held = self.positions.get(coin.name)
        if held is None:
            return
        if self.rules.fill_price == "mid" and held.entry_time == bar.time:
            # What opened in the middle of the bar has not seen its open.
            self.exit_in(coin, held, replace(bar, open=self.open_or_mid(bar)), bar)
            return
        gone = self.liquidated(coin, held, bar, bar)
        finer = self.finer_of(coin, held, bar, gone)
        if not any(self.exit_in(coin, held, part, bar, may_liquidate=gone) for part in finer):
            self.exit_in(coin, held, bar, bar)

    def finer_of(self, coin: Coin, held: Position, bar: Candle, gone: bool) -> list[Candle]:
        """The finer candles of a bar in which a losing level and the target both lie; they know nothing of marks."""
        side, (stop, trail, target) = held.side, self.levels(held)
        worst, best = (bar.low, bar.high) if side > 0 else (bar.high, bar.low)
        lost = gone or any(level is not None and side * (worst - level) <= 0 for level in (stop, trail))
        if not lost or target is None or side * (best - target) < 0 or (gone and bar.time in coin.marks):
            return []
        return [part for part in coin.detail if bar.time <= part.time < bar.time + self.rules.interval_ms]

    def liquidated(self, coin: Coin, held: Position, bar: Candle, whole: Candle) -> bool:
        """Whether the mark (the traded price where none is known) touched a liquidation price nearer than the stop."""
        side, stop, gone = held.side, self.levels(held)[0], self.liquidation_price(held)
        mark = coin.marks.get(whole.time, bar)
        worst, mark_worst = (bar.low, mark.low) if side > 0 else (bar.high, mark.high)
        stopped_first = stop is not None and side * (worst - stop) <= 0 and side * (stop - gone) > 0
        return side * (mark_worst - gone) <= 0 and not stopped_first

    def levels(self, held: Position) -> tuple[float | None, float | None, float | None]:
        rules, side = self.rules, held.side
        stop = held.entry * (1 - side * rules.stop / 100) if rules.stop else None
        trail = held.best * (1 - side * rules.trailing / 100) if rules.trailing else None
        target = held.entry * (1 + side * rules.target / 100) if rules.target else None
        return stop, trail, target

    def exit_in(self, coin: Coin, held: Position, bar: Candle, whole: Candle, may_liquidate: bool = True) -> bool:
        """The nearer of liquidation and stop-loss, then the trailing stop, then the target."""
        side, (stop, trail, target) = held.side, self.levels(held)
        worst, best = (bar.low, bar.high) if side > 0 else (bar.high, bar.low)
        if may_liquidate and self.liquidated(coin, held, bar, whole):
            self.liquidate(held, bar.open, whole.time)
            return True
        for level, reason in ((stop, "stop_loss"), (trail, "trailing_stop")):
            if level is not None and side * (worst - level) <= 0:
                beyond = bar.open if side * (bar.open - level) < 0 else level
                self.close(held, self.slipped(beyond, -side), whole.time, reason)
                return True
        if target is not None and side * (best - target) >= 0:
            beyond = bar.open if side * (bar.open - target) > 0 else target
            self.close(held, self.slipped(beyond, -side), whole.time, "take_profit")
            return True
        return False


def simulate(coins: Sequence[Coin], rules: Rules) -> Result:
    return Simulator(coins, rules).run()


# -- signals, computed the slow way -----------------------------------------------------------------


def mean_of(candles: Sequence[Candle], end: int, period: int) -> float | None:
    """Mean of the closes of the `period` candles up to and including `end`."""
    if end + 1 < period:
        return None
    return sum(candle.close for candle in candles[end + 1 - period : end + 1]) / period


def ma_cross_signals(candles: Sequence[Candle], fast: int, slow: int) -> dict[int, int]:
    """+1 on a golden cross, -1 on a death cross; both averages defined on both bars."""
    found: dict[int, int] = {}
    for i in range(1, len(candles)):
        values = [mean_of(candles, at, period) for at in (i, i - 1) for period in (fast, slow)]
        if any(value is None for value in values):
            continue
        a, b, before_a, before_b = (float(value) for value in values if value is not None)
        if a > b and before_a <= before_b:
            found[candles[i].time] = 1
        elif a < b and before_a >= before_b:
            found[candles[i].time] = -1
    return found


def gated_signals(candles: Sequence[Candle]) -> dict[int, int]:
    """A bar of more than twice the volume of the one before speaks: +1 where it closed higher, -1 where lower."""
    found: dict[int, int] = {}
    for before, bar in pairwise(candles):
        if bar.volume > 2 * before.volume and bar.close != before.close:
            found[bar.time] = 1 if bar.close > before.close else -1
    return found
