"""Thinning, the yardstick and CSV."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.report import buy_and_hold, csv_lines, forward_fill, thin


@given(st.integers(1, 30_000), st.integers(0, 2**32 - 1))
def test_thinning_keeps_the_ends_and_the_extremes_within_the_limit(n: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=n).cumsum()
    kept = thin(values, 5_000)
    assert len(kept) <= 5_000
    assert (kept[0], kept[-1]) == (0, n - 1)
    assert values[kept].max() == values.max()
    assert values[kept].min() == values.min()
    assert (np.diff(kept) > 0).all()


def test_short_curves_are_whole() -> None:
    assert thin(np.arange(5_000.0)).tolist() == list(range(5_000))


def test_thinning_keeps_the_drawdown() -> None:
    values = 100 + np.random.default_rng(7).normal(size=200_000).cumsum()
    values -= values.min() - 50

    def drawdown(curve: np.ndarray) -> float:
        peaks = np.maximum.accumulate(curve)
        return float(((peaks - curve) / peaks).max())

    assert drawdown(values[thin(values)]) == pytest.approx(drawdown(values), abs=0)


def test_buy_and_hold_pays_the_fee_and_waits_for_a_coin_that_is_listed_later() -> None:
    nan = float("nan")
    opens = np.array([[10.0, nan], [11.0, nan], [12.0, 5.0]])
    closes = np.array([[11.0, nan], [nan, nan], [13.0, 10.0]])
    value = buy_and_hold(opens, closes, 1_000.0, 0.25, np.array([0.5, 0.5]))
    # 500 at 10 with 25 % fee: 40 coins; 500 wait until row 2 and buy 80 at 5.
    assert value.tolist() == [40 * 11 + 500, 40 * 11 + 500, 40 * 13 + 80 * 10]


def test_forward_fill() -> None:
    nan = float("nan")
    assert forward_fill(np.array([1.0, nan, nan, 2.0, nan])).tolist() == [1, 1, 1, 2, 2]


def test_csv_is_whole_and_no_formula() -> None:
    lines = "".join(csv_lines(("coin", "n"), (("=A1", i / 3) for i in range(1_203)))).splitlines()
    assert lines[0] == "coin,n"
    assert len(lines) == 1_204
    assert lines[2] == f"'=A1,{1 / 3}"
