"""Random candles, settings and the comparison of a report with the reference, trade by trade."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.acceptance.lab import START, Lab, cross, gated
from tests.oracle.reference import (
    HOUR,
    Candle,
    Coin,
    Result,
    Rules,
    gated_signals,
    ma_cross_signals,
    simulate,
)

STEPS = {"15m": HOUR // 4, "1h": HOUR, "4h": 4 * HOUR, "1d": 24 * HOUR}
FINER = {"1h": "15m", "4h": "1h"}
DAY = 24 * HOUR
TEXTS = ("coin", "side", "entry_time", "exit_time", "exit_reason")
MONEY = ("fee", "funding", "pnl")
PRICES = ("entry_price", "exit_price", "leverage")


def walk(rng: random.Random, count: int, step: int = HOUR // 4, sigma: float = 0.004) -> list[Candle]:
    """A random walk with jumps between bars, now and then large ones; volumes open the gate one bar in five."""
    close, found = 100.0 * math.exp(rng.gauss(0, 1)), []
    volume = 1.0
    for i in range(count):
        jump = rng.gauss(0, sigma / 2) if rng.random() < 0.97 else rng.gauss(0, sigma * 8)
        first = close * math.exp(jump)
        close = first * math.exp(rng.gauss(0, sigma))
        high = max(first, close) * math.exp(abs(rng.gauss(0, sigma)))
        low = min(first, close) * math.exp(-abs(rng.gauss(0, sigma)))
        volume = volume * 3 if rng.random() < 0.2 and volume < 1e9 else rng.uniform(1.0, 1.9)
        found.append(Candle(START + i * step, first, high, low, close, volume))
    return found


def coarser(finer: Sequence[Candle], parts: int, rng: random.Random) -> list[Candle]:
    found = []
    volume = 1.0
    for i in range(0, len(finer) - parts + 1, parts):
        some = finer[i : i + parts]
        volume = volume * 3 if rng.random() < 0.2 and volume < 1e9 else rng.uniform(1.0, 1.9)
        found.append(Candle(some[0].time, some[0].open, max(c.high for c in some), min(c.low for c in some),
                            some[-1].close, volume))  # fmt: skip
    return found


def with_gaps(rng: random.Random, candles: list[Candle]) -> list[Candle]:
    """Leaves out single bars and stretches, never the first."""
    kept, skip = candles[:1], 0
    for candle in candles[1:]:
        if skip == 0 and rng.random() < 0.03:
            skip = rng.randint(1, 12)
        if skip:
            skip -= 1
        else:
            kept.append(candle)
    return kept


def marks_of(rng: random.Random, candles: Sequence[Candle]) -> list[Candle]:
    found = []
    for c in candles:
        if rng.random() < 0.1:
            continue  # the traded prices tell where there is no mark
        shift = math.exp(rng.gauss(0, 0.003))
        first, last = c.open * shift, c.close * shift
        found.append(Candle(c.time, first, max(first, last) * 1.001, min(first, last) * 0.999, last))
    return found


@dataclass(slots=True)
class Case:
    rules: Rules
    coins: list[Coin]
    strategy: dict[str, Any]
    detail_interval: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def request(self) -> dict[str, Any]:
        rules = self.rules
        body: dict[str, Any] = {
            "initial_capital": rules.capital, "trade_fee_rate": rules.fee, "slippage_bps": rules.slippage_bps,
            "leverage": rules.leverage, "position_size_percent": rules.size_percent, "fill_price": rules.fill_price,
            "stop_loss_percent": rules.stop, "take_profit_percent": rules.target,
            "trailing_stop_percent": rules.trailing, "maintenance_margin_rate": rules.mmr, "funding": rules.funding,
            "market": rules.market,
        }  # fmt: skip
        if self.detail_interval:
            body["detail_interval"] = self.detail_interval
        return body | self.extra


def random_case(lab: Lab, seed: int, bars: int = 400, **fixed: Any) -> Case:
    rng = random.Random(seed)
    pick = rng.choice
    count = fixed.pop("count", pick([1, 1, 2, 3]))
    interval = fixed.pop("interval", pick(["1h", "1h", "4h", "1d"]))
    detailed = fixed.pop("detailed", rng.random() < 0.3) and interval in FINER
    first = fixed.pop("first", pick([0, 0, bars // 5]))
    gaps = fixed.pop("gaps", rng.random() < 0.5)
    marked = fixed.pop("marked", rng.random() < 0.3)
    funded = fixed.pop("funded", pick(["no", "stored", "part"]))
    sigma = fixed.pop("sigma", pick([0.002, 0.004, 0.01]))
    values: dict[str, Any] = {
        "capital": pick([1000.0, 10_000.0, 123_456.78]), "fee": pick([0.0, 0.001, 0.0005, 0.004]),
        "slippage_bps": pick([0.0, 0.0, 5.0, 25.0]), "leverage": pick([1.0, 1.0, 2.0, 5.0, 20.0]),
        "size_percent": pick([100.0, 100.0 / count, 37.5]), "direction": pick(["long", "short", "both", "both"]),
        "stop": pick([0.0, 1.0, 3.0, 6.0]), "target": pick([0.0, 2.0, 5.0]), "trailing": pick([0.0, 0.0, 1.5, 4.0]),
        "mmr": pick([0.004, 0.01, 0.05]), "funding": pick(["auto", "auto", "none"]), "market": pick(["spot", "perp"]),
    }  # fmt: skip
    values |= fixed
    rules = Rules(interval_ms=STEPS[interval], **values)
    use_cross = rng.random() < 0.4
    fast, slow = pick([(2, 5), (3, 10), (5, 20)])
    strategy = cross(fast, slow, rules.direction) if use_cross else gated(rules.direction)
    coins = []
    for _ in range(count):
        finer = walk(rng, bars * 4, rules.interval_ms // 4, sigma)
        candles = coarser(finer, 4, rng)
        if gaps:
            candles = with_gaps(rng, candles)
        if rng.random() < 0.3:
            candles = candles[rng.randint(1, bars // 4) : -rng.randint(1, bars // 4)]
        start = START + first * rules.interval_ms
        signals = ma_cross_signals(candles, fast, slow) if use_cross else gated_signals(candles)
        marks = marks_of(rng, candles) if marked else []
        rates = random_rates(rng, candles, funded)
        detail = finer if detailed else []
        name = lab.store(candles, market=rules.market, marks=marks, rates=rates, detail=detail, interval=interval,
                         detail_interval=FINER.get(interval, ""))  # fmt: skip
        told = {mark.time: mark for mark in marks} if rules.market == "perp" else {}  # spot has no mark of its own
        candles = [candle for candle in candles if candle.time >= start]
        coins.append(Coin(name, candles, signals, told, rates, detail))
    extra = {"interval": interval, "start_date": START + first * rules.interval_ms, "end_date": "2030-01-01"}
    return Case(rules, coins, strategy, FINER[interval] if detailed else None, extra)


def random_rates(rng: random.Random, candles: Sequence[Candle], kind: str) -> list[tuple[int, float]]:
    """Rates at irregular hours, milliseconds late, over the whole span or a part of it."""
    if kind == "no":
        return []
    first, last = candles[0].time - 24 * HOUR, candles[-1].time + 24 * HOUR
    if kind == "part":
        third = (last - first) // 3
        first, last = first + third, last - third
    time, found = first // HOUR * HOUR, []
    while time <= last:
        found.append((time + rng.choice([0, 0, 3, 17, 59_000]), rng.gauss(0.0001, 0.002)))
        time += rng.choice([HOUR, 4 * HOUR, 8 * HOUR, 8 * HOUR, HOUR // 2 * 3])
    return found


def differences(report: dict[str, Any], mine: Result, rules: Rules) -> list[str]:
    """Every place where report and reference disagree by more than 1e-9 of the capital (1e-9 of a price)."""
    wrong: list[str] = []

    def check(where: str, told: float, expected: float, scale: float) -> None:
        if not abs(told - expected) <= 1e-9 * scale:
            wrong.append(f"{where}: {told!r}, reference {expected!r}")

    trades = report["trades"]
    order = {coin: i for i, coin in enumerate(dict.fromkeys(row["coin"] for row in mine.trades))}
    key = lambda row: (row["entry_time"], order.get(row["coin"], 99), row["exit_time"])  # noqa: E731
    theirs, ours = sorted(trades, key=key), sorted(mine.trades, key=key)
    for i, (told, expected) in enumerate(zip(theirs, ours, strict=False)):
        wrong += [f"trade {i} {w}: {told[w]!r}, reference {expected[w]!r}" for w in TEXTS if told[w] != expected[w]]
        for word in PRICES:
            check(f"trade {i} {word}", told[word], expected[word], abs(expected[word]))
        for word in MONEY:
            check(f"trade {i} {word}", told[word], expected[word], rules.capital)
        notionals = [row["quantity"] * row["entry_price"] for row in (told, expected)]
        check(f"trade {i} notional", notionals[0], notionals[1], rules.capital * rules.leverage)
        check(f"trade {i} pnl_percent", told["pnl_percent"], expected["pnl_percent"], 100.0)
        if wrong:
            break
    if len(trades) != len(mine.trades):
        wrong.append(f"{len(trades)} trades, reference {len(mine.trades)}")
    summary, closed = report["summary"], mine.closed()
    wins = sum(row["pnl"] > 0 for row in closed)
    check("final_value", summary["final_value"], mine.final, rules.capital)
    check("total_return", summary["total_return"], mine.final - rules.capital, rules.capital)
    check("return_percentage", summary["return_percentage"], (mine.final / rules.capital - 1) * 100, 100.0)
    check("max_drawdown", summary["max_drawdown"], mine.drawdown_percent(rules.capital), 100.0)
    check("total_fees", summary["total_fees"], mine.fees, rules.capital)
    for word, expected in (("total_trades", len(closed)), ("winning_trades", wins)):
        if summary[word] != expected:
            wrong.append(f"{word}: {summary[word]}, reference {expected}")
    if closed:
        check("win_rate", summary["win_rate"], 100.0 * wins / len(closed), 100.0)
    for word, expected in daily_figures(mine, rules).items():
        if expected is None or summary[word] is None:
            if expected is not summary[word]:
                wrong.append(f"{word}: {summary[word]}, reference {expected}")
        else:
            check(word, summary[word], expected, max(1.0, abs(expected)) * 100)
    values = report["account_values"]
    if [row["timestamp"] for row in values] != [time for time, *_ in mine.values]:
        wrong.append(f"{len(values)} account values, reference {len(mine.values)}")
    for row, (time, value, cash, held) in zip(values, mine.values, strict=False):
        for word, expected in (("value", value), ("cash", cash), ("positions_value", held)):
            check(f"account value at {time} {word}", row[word], expected, rules.capital)
    return wrong


def daily_figures(mine: Result, rules: Rules) -> dict[str, float | None]:
    """Annual figures of the account as it stood at the end of each UTC day, a year of 365 days, no riskless rate."""
    marks, value, place = [rules.capital], rules.capital, 0
    first, last = (mine.values[i][0] // DAY for i in (0, -1))
    for day in range(first, last + 1):
        while place < len(mine.values) and mine.values[place][0] + rules.interval_ms <= (day + 1) * DAY:
            value = mine.values[place][1]
            place += 1
        marks.append(value)
    names = ("annual_return", "annual_volatility", "sharpe_ratio", "sortino_ratio")
    if min(marks) < 1e-6 * rules.capital:
        return {}  # ruined: whether nothing or 1e-13 is left is a matter of rounding
    if len(marks) < 3:
        return dict.fromkeys(names)
    returns = [after / before - 1 for before, after in pairwise(marks)]
    mean, deviation = statistics.fmean(returns), statistics.stdev(returns)
    downside = math.sqrt(statistics.fmean(min(r, 0.0) ** 2 for r in returns))
    growth = math.prod(1 + r for r in returns)
    year = math.sqrt(365)
    return {
        "annual_return": (growth ** (365 / len(returns)) - 1) * 100, "annual_volatility": deviation * year * 100,
        "sharpe_ratio": mean / deviation * year if deviation else None,
        "sortino_ratio": mean / downside * year if downside else None,
    }  # fmt: skip


def compare(lab: Lab, case: Case) -> list[str]:
    report = lab.run([coin.name for coin in case.coins], case.strategy, **case.request())
    return differences(report, simulate(case.coins, case.rules), case.rules)
