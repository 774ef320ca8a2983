"""Lays comparisons out as the tables of numbers that `kernels.run` works through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.market import FloatArray
from strategies.codes import OP_BOLL, OP_CLOSE, OP_EMA, OP_EXTERNAL, OP_MACD, OP_RSI, OP_SMA
from strategies.lowering import CONSTANT, PRICE, Comparison, Line, Test

Table = NDArray[np.int64]
Key = tuple[str, tuple[Any, ...]]

# What runs inside the loop: its code and how many lines it gives. The averages run in pairs.
_INSIDE = {"macd": (OP_MACD, 2), "rsi": (OP_RSI, 1), "boll": (OP_BOLL, 3)}
_PAIRED = {"sma": OP_SMA, "ema": OP_EMA}


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Tests joined by AND (`all_of`) or OR."""

    all_of: bool
    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Arguments of `kernels.run`. `external`: indicators whose lines have to stand ready in the pool.

    An external operation holds the number of its line among its indicator's and the number of the
    indicator in `external`; `located` turns them into rows of a pool. `lines` are the rows of values.
    """

    ops: Table
    reals: FloatArray
    external: tuple[Key, ...]
    constants: FloatArray
    comparisons: Table
    joins: Table
    members: NDArray[np.int64]
    sides: NDArray[np.int64]
    lines: Mapping[Line, int]
    rows: int

    def located(self, starts: Sequence[int]) -> Table:
        """`ops` for a pool in which the lines of `external[i]` begin at row `starts[i]`."""
        if not self.external:
            return self.ops
        ops = self.ops.copy()
        outside = ops[:, 0] == OP_EXTERNAL
        ops[outside, 1] += np.asarray(starts, dtype=np.int64)[ops[outside, 2]]
        return ops


def op_row(op: int, ints: Sequence[int], slots: Sequence[int]) -> list[int]:
    """One row of `ops`: the code, three ints, three rows of values."""
    return [op, *[*ints, 0, 0, 0][:3], *[*slots, 0, 0, 0][:3]]


@dataclass(slots=True)
class _Builder:
    inside: bool
    lines: dict[Line, int] = field(default_factory=dict)
    ops: list[list[int]] = field(default_factory=list)
    reals: list[float] = field(default_factory=list)
    external: list[Key] = field(default_factory=list)
    constants: list[tuple[float, float]] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    joins: list[tuple[int, int, int]] = field(default_factory=list)
    members: list[int] = field(default_factory=list)
    rows: int = 0

    def place(self, wanted: Sequence[Line]) -> None:
        """Gives every line a row and an operation that fills it."""
        for line in wanted:
            if line in self.lines or (self.inside and line.indicator in _PAIRED):
                continue
            if line.indicator == CONSTANT:
                self.lines[line] = self._new_row()
                self.constants.append((float(self.lines[line]), line.params[0]))
            elif line.indicator == PRICE:
                self.lines[line] = self._new_row()
                self._add(OP_CLOSE, [], [self.lines[line]])
            elif self.inside and line.indicator in _INSIDE:
                self._place_inside(line)
            else:
                self._place_external(line)
        if self.inside:
            for indicator, op in _PAIRED.items():
                self._place_pairs(op, list(dict.fromkeys(line for line in wanted if line.indicator == indicator)))

    def _place_inside(self, line: Line) -> None:
        op, outputs = _INSIDE[line.indicator]
        slots = [self._new_row() for _ in range(outputs)]
        for output, slot in enumerate(slots):
            self.lines[Line(line.indicator, line.params, output)] = slot
        ints = [value for value in line.params if isinstance(value, int)]
        real = next((value for value in line.params if isinstance(value, float)), 0.0)
        self._add(op, ints, slots, real)

    def _place_external(self, line: Line) -> None:
        key = (line.indicator, line.params)
        if key not in self.external:
            self.external.append(key)
        self.lines[line] = self._new_row()
        self._add(OP_EXTERNAL, [line.output, self.external.index(key)], [self.lines[line]])

    def _place_pairs(self, op: int, wanted: list[Line]) -> None:
        for at in range(0, len(wanted), 2):
            pair = wanted[at : at + 2]
            slots = [self._new_row(), self._new_row()]
            for line, slot in zip(pair, slots, strict=False):
                self.lines[line] = slot
            # The odd one out runs beside itself, into a row that nobody reads.
            self._add(op, [pair[0].params[0], pair[-1].params[0]], slots)

    def _new_row(self) -> int:
        self.rows += 1
        return self.rows - 1

    def _add(self, op: int, ints: list[int], slots: list[int], real: float = 0.0) -> None:
        self.ops.append(op_row(op, ints, slots))
        self.reals.append(real)

    def join(self, all_of: bool, facts: list[int]) -> int:
        """Row of bytes that holds the joined facts; -1 where there are none."""
        facts = list(dict.fromkeys(facts))
        if len(facts) <= 1:
            return facts[0] if facts else -1
        self.members.extend(facts)
        self.joins.append((int(all_of), len(self.members) - len(facts), len(self.members)))
        return len(self.comparisons) + len(self.joins) - 1

    def side(self, groups: Sequence[RuleGroup]) -> int:
        def row(test: Test) -> int:
            return self.join(True, [self.comparisons.index(comparison) for comparison in test])

        return self.join(False, [self.join(group.all_of, [row(test) for test in group.tests]) for group in groups])


def build_layout(sides: Sequence[Sequence[RuleGroup]], *, inside: bool) -> Layout:
    """Tables for the buy and the sell groups. `inside`: compute what can be in the loop, else read all lines."""
    builder = _Builder(inside)
    every = [comparison for groups in sides for group in groups for test in group.tests for comparison in test]
    builder.comparisons = list(dict.fromkeys(every))
    builder.place([line for comparison in builder.comparisons for line in (comparison.left, comparison.right)])
    rows = [builder.side(groups) for groups in sides]
    lines = builder.lines
    return Layout(
        ops=_table(builder.ops, 7),
        reals=np.array(builder.reals, dtype=np.float64),
        external=tuple(builder.external),
        constants=np.array(builder.constants, dtype=np.float64).reshape(-1, 2),
        comparisons=_table([[c.kind, lines[c.left], lines[c.right]] for c in builder.comparisons], 3),
        joins=_table(builder.joins, 3),
        members=np.array(builder.members, dtype=np.int64),
        sides=np.array(rows, dtype=np.int64),
        lines=lines,
        rows=builder.rows,
    )


def _table(rows: Sequence[Sequence[int]], width: int) -> Table:
    return np.array(rows, dtype=np.int64).reshape(-1, width)
