"""From a rule set to signals: `compile_ruleset(ruleset).signals(bars)`.

Compiling lowers every condition to comparisons between lines (the close, an average, a level ...),
shares the lines that several conditions read, and lays the whole out for one compiled loop
(`strategies.kernels.run`). Bar i's signal depends on the bars up to i alone.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidValue
from domain.market import Bars, FloatArray
from strategies import indicators
from strategies.codes import ABOVE, AT_LEAST, AT_MOST, BELOW, CROSS_DOWN, CROSS_UP
from strategies.indicators import REGISTRY
from strategies.layout import Key, Layout, RuleGroup, Table, build_layout
from strategies.lowering import CONSTANT, PRICE, Comparison, Line, lower
from strategies.ruleset import Group, RuleSet, parse_ruleset

SignalArray = NDArray[np.int8]
_NOTHING: FloatArray = np.empty((0, 0))

_HOLDS = {
    ABOVE: operator.gt,
    BELOW: operator.lt,
    AT_LEAST: operator.ge,
    AT_MOST: operator.le,
    CROSS_UP: operator.gt,
    CROSS_DOWN: operator.lt,
}
_BEFORE = {CROSS_UP: operator.le, CROSS_DOWN: operator.ge}
_TEXT = {
    ABOVE: "{a} above {b}: {x} over {y}",
    BELOW: "{a} below {b}: {x} under {y}",
    AT_LEAST: "{a} at or above {b}: {x}",
    AT_MOST: "{a} at or below {b}: {x}",
    CROSS_UP: "{a} crossed above {b}: {x} over {y}",
    CROSS_DOWN: "{a} crossed below {b}: {x} under {y}",
}


class IndicatorCache:
    """Indicator values of one span of bars, computed once for all the programs that read them.

    For sweeps: give the same cache to `Program.signals` of every variant. Thread-safe. Memory: 8 bytes
    for each bar and line, kept as long as the cache. The signals are the same with and without it.
    """

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        # Untouched rows of a fresh array cost nothing.
        self._pool = np.empty((16, len(bars)))
        self._starts: dict[Key, int] = {}
        self._used = 0
        self._lock = threading.Lock()

    def lines(self, wanted: Iterable[Key]) -> tuple[FloatArray, list[int]]:
        """The pool of lines and, for each indicator wanted, the row of its first line."""
        with self._lock:
            starts = [self._start(key) for key in wanted]
            return self._pool, starts

    def _start(self, key: Key) -> int:
        start = self._starts.get(key)
        if start is None:
            lines = REGISTRY[key[0]].lines(self.bars, key[1])
            start, self._used = self._used, self._used + len(lines)
            if self._used > len(self._pool):
                grown = np.empty((2 * self._used, len(self.bars)))
                grown[:start] = self._pool[:start]
                self._pool = grown
            for row, line in enumerate(lines, start):
                self._pool[row] = line
            self._starts[key] = start
        return start


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A compiled rule set. Immutable; safe to use from several threads at once.

    `warmup`: closed bars needed until every condition can hold. `history`: bars after which the values
    no longer depend on where the series began (to one part in 1e9); what a live view should hold.
    """

    ruleset: RuleSet
    warmup: int
    history: int
    _groups: tuple[tuple[RuleGroup, ...], ...] = field(repr=False)
    _direct: Layout = field(repr=False)
    _cached: Layout = field(repr=False)

    def signals(self, bars: Bars, cache: IndicatorCache | None = None) -> SignalArray:
        """int8 of length n: +1 buy, -1 sell, 0 none or both.

        `cache` has to be made of these very bars, else InvalidValue.
        """
        if cache is None:
            pool, starts = _computed(self._direct.external, bars)
            return _run(self._direct, bars, pool, starts)[0]
        if cache.bars is not bars:
            raise InvalidValue("the indicator cache was made of other bars")
        pool, starts = cache.lines(self._cached.external)
        return _run(self._cached, bars, pool, starts)[0]

    def explain(self, bars: Bars) -> str:
        """What holds on the last bar, in words and numbers; "" where nothing does."""
        pool, starts = _computed(self._direct.external, bars)
        values = _run(self._direct, bars, pool, starts)[1]
        parts = []
        for word, groups in zip(("Buy", "Sell"), self._groups, strict=True):
            reasons = [reason for group in groups if (reason := _reason(group, self._direct.lines, values))]
            if reasons:
                parts.append(f"{word}: {'; or '.join(reasons)}")
        return ". ".join(parts)


def compile_ruleset(ruleset: RuleSet | Mapping[str, Any]) -> Program:
    """A program from a rule set (or its JSON; InvalidValue as in `parse_ruleset`)."""
    ruleset = parse_ruleset(ruleset)
    groups = tuple(_rule_groups(side) for side in (ruleset.buy_groups, ruleset.sell_groups))
    tests = [test for side in groups for group in side for test in group.tests]
    needs = [_needs(comparison) for test in tests for comparison in test]
    return Program(
        ruleset,
        warmup=max((warmup for warmup, _ in needs), default=0),
        history=max((warmup + memory for warmup, memory in needs), default=0),
        _groups=groups,
        _direct=build_layout(groups, inside=True),
        _cached=build_layout(groups, inside=False),
    )


def warm_up() -> None:
    """Loads, or on the first use compiles, every kernel. Takes seconds the first time: call it in the background."""
    conditions = [
        {"indicator_type": "MA", "signal_type": "golden_cross"},
        {"indicator_type": "RSI", "signal_type": "bullish_divergence"},
        {"indicator_type": "KDJ", "signal_type": "golden_cross"},
    ]
    program = compile_ruleset({"name": "warm-up", "buy_groups": [{"conditions": conditions}]})
    line = np.linspace(1.0, 2.0, 100)
    program.signals(Bars(np.arange(100, dtype=np.int64), line, line, line, line, line))


def _rule_groups(side: Sequence[Group]) -> tuple[RuleGroup, ...]:
    return tuple(RuleGroup(group.logic == "AND", tuple(lower(each) for each in group.conditions)) for group in side)


def _needs(comparison: Comparison) -> tuple[int, int]:
    """Bars until it is defined, and the bars that its lines remember."""
    warmup, memory = 1, 0
    for line in (comparison.left, comparison.right):
        if line.indicator not in (CONSTANT, PRICE):
            warmup = max(warmup, REGISTRY[line.indicator].warmup(*line.params))
            memory = max(memory, REGISTRY[line.indicator].memory(*line.params))
    return warmup + (comparison.kind in _BEFORE), memory


def _computed(wanted: Sequence[Key], bars: Bars) -> tuple[FloatArray, list[int]]:
    lines: list[FloatArray] = []
    starts: list[int] = []
    for name, params in wanted:
        starts.append(len(lines))
        lines.extend(REGISTRY[name].lines(bars, params))
    pool = np.empty((len(lines), len(bars)))
    for row, line in enumerate(lines):
        pool[row] = line
    return pool, starts


def _run(layout: Layout, bars: Bars, pool: FloatArray, starts: Sequence[int]) -> tuple[SignalArray, FloatArray]:
    from strategies import kernels

    close = indicators.series(bars.close)
    ops: Table = layout.located(starts)
    tail = np.full((layout.rows, 2), np.nan)
    signals: SignalArray = kernels.run(
        close, pool, indicators.begin_of(close), ops, layout.reals, layout.constants,
        layout.comparisons, layout.joins, layout.members, layout.sides, tail, _NOTHING,
    )  # fmt: skip
    return signals, tail


def _reason(group: RuleGroup, rows: Mapping[Line, int], values: FloatArray) -> str:
    held = [test for test in group.tests if all(_holds(comparison, rows, values) for comparison in test)]
    if len(held) < len(group.tests) if group.all_of else not held:
        return ""
    joint = " and " if group.all_of else ", "
    return joint.join(_text(comparison, rows, values) for test in held for comparison in test)


def _holds(comparison: Comparison, rows: Mapping[Line, int], values: FloatArray) -> bool:
    (left_before, left), (right_before, right) = values[rows[comparison.left]], values[rows[comparison.right]]
    before = _BEFORE.get(comparison.kind)
    if before is not None and not before(left_before, right_before):
        return False
    return bool(_HOLDS[comparison.kind](left, right))


def _text(comparison: Comparison, rows: Mapping[Line, int], values: FloatArray) -> str:
    if comparison.text:
        return comparison.text
    left, right = comparison.left, comparison.right
    x, y = (_figure(float(values[rows[line], 1])) for line in (left, right))
    return _TEXT[comparison.kind].format(a=left.label, b=right.label, x=x, y=y)


def _figure(value: float) -> str:
    """Seven significant digits, thousands separated."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = min(max(6 - math.floor(math.log10(abs(value))), 0), 12)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
