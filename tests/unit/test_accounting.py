"""The arithmetic of money, number by number."""

from __future__ import annotations

from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers import accounting as acc
from domain.trading import Reason

prices = st.floats(0.001, 1e6)
rates = st.floats(0, 0.1)
percents = st.floats(0.01, 99)
signs = st.sampled_from([1.0, -1.0])


def test_reasons_are_the_domain_s() -> None:
    assert {name for name in acc.REASONS if name} == {reason.value for reason in Reason}
    assert acc.REASONS[acc.EXIT_STOP] == "stop_loss"
    assert acc.REASONS[acc.EXIT_OPEN] == "open"


def test_slippage_moves_a_fill_against_the_trader() -> None:
    assert acc.fill_price(100, True, 0.001) == 100.1
    assert acc.fill_price(100, False, 0.001) == 99.9


@pytest.mark.parametrize(
    ("limit", "is_buy", "bar", "expected"),
    [
        (95, True, (100, 101, 94), 95),  # trades through
        (95, True, (100, 101, 95), None),  # touches only
        (95, True, (90, 101, 89), 90),  # opens beyond: the better price
        (105, False, (100, 106, 99), 105),
        (105, False, (100, 105, 99), None),
        (105, False, (110, 111, 99), 110),
    ],
)
def test_a_limit_fills_only_when_the_bar_trades_through(
    limit: float, is_buy: bool, bar: tuple[float, float, float], expected: float | None
) -> None:
    price = acc.limit_fill_price(limit, is_buy, *bar)
    assert isnan(price) if expected is None else price == expected


@pytest.mark.parametrize(
    ("equity", "cash", "percent", "leverage", "fee_rate", "margin", "fee"),
    [
        (1000, 1000, 50, 1, 0.001, 500, 0.5),
        (1000, 1000, 50, 4, 0.001, 500, 2),
        (1000, 1000, 100, 1, 0.25, 800, 200),  # shrunk: 1000 / 1.25
        (1000, 1000, 100, 5, 0.05, 800, 200),  # shrunk: 1000 / (1 + 5 x 0.05)
        (2000, 300, 50, 1, 0, 300, 0),  # cash is the limit
        (1000, 1000, 0.0999, 1, 0, 0, 0),  # notional under 1
        (1000, 1000, 0.1, 1, 0, 1, 0),  # just 1
        (1000, 0, 50, 1, 0.001, 0, 0),
        (-50, 1000, 50, 1, 0.001, 0, 0),
        (1000, 1000, 0, 1, 0.001, 0, 0),
    ],
)
def test_open_size(
    equity: float, cash: float, percent: float, leverage: float, fee_rate: float, margin: float, fee: float
) -> None:
    assert acc.open_size(equity, cash, percent, leverage, fee_rate) == pytest.approx((margin, fee))


@given(st.floats(1, 1e9), st.floats(0, 200), st.floats(0.1, 125), rates)
def test_an_opening_never_takes_more_than_cash(cash: float, percent: float, leverage: float, fee_rate: float) -> None:
    margin, fee = acc.open_size(cash, cash, percent, leverage, fee_rate)
    assert cash - margin - fee >= 0
    if percent >= 100 and margin:
        assert cash - margin - fee == 0


def test_an_add_averages_by_quantity() -> None:
    assert acc.add_entry(10, 100, 30, 120) == 115
    assert acc.position_leverage(40, 115, 920, 0) == 5
    # Funding paid since does not change the leverage.
    assert acc.position_leverage(40, 115, 900, -20) == 5


@pytest.mark.parametrize(
    ("sign", "price", "fee_rate", "expected"),
    [
        (1, 110, 0.01, (100 + 100 - 11, 100, 11)),
        (-1, 110, 0.0, (0, -100, 0)),
        (1, 80, 0.01, (0, -100, 0)),  # lost more than the margin: no more than the margin
        (1, 91, 0.05, (0, -90, 10)),  # the fee takes what is left, no more
        (-1, 90, 0.01, (100 + 100 - 9, 100, 9)),
    ],
)
def test_a_close(sign: float, price: float, fee_rate: float, expected: tuple[float, float, float]) -> None:
    assert acc.close_amounts(sign, 10, 100, 100, price, fee_rate) == pytest.approx(expected)


@given(signs, st.floats(1e-6, 1e6), prices, st.floats(0, 1e9), prices, rates)
def test_no_close_returns_less_than_zero_and_nothing_is_lost_on_the_way(
    sign: float, quantity: float, entry: float, margin: float, price: float, fee_rate: float
) -> None:
    back, profit, fee = acc.close_amounts(sign, quantity, entry, margin, price, fee_rate)
    assert back >= 0
    assert fee >= 0
    assert back == pytest.approx(margin + profit - fee, rel=1e-9, abs=1e-6)


def test_funding_is_paid_on_the_notional_of_now() -> None:
    assert acc.funding_received(1, 10, 110, 0.01, 1000) == -11
    assert acc.funding_received(-1, 10, 110, 0.01, 1000) == 11
    assert acc.funding_received(1, 10, 110, -0.01, 1000) == 11
    assert acc.funding_received(1, 10, 110, 0.5, 100) == -100  # never more than the margin


def test_liquidation_prices_are_the_design_s() -> None:
    assert acc.liquidation_price(1, 100, 10, 100, 0.01) == pytest.approx(900 / 9.9)
    assert acc.liquidation_price(-1, 100, 10, 100, 0.01) == pytest.approx(1100 / 10.1)
    assert acc.liquidation_price(1, 100, 10, 1000, 0.01) == 0
    assert acc.liquidation_price(1, 0.1, 30, 0.1 * 30, 0.01) == 0  # 3.0000000000000004 - 3


@given(signs, prices, st.floats(1e-3, 1e4), st.floats(1.01, 40), st.floats(0.001, 0.02))
def test_at_the_liquidation_price_the_margin_left_is_the_maintenance_margin(
    sign: float, entry: float, quantity: float, leverage: float, mmr: float
) -> None:
    margin = entry * quantity / leverage
    price = acc.liquidation_price(sign, entry, quantity, margin, mmr)
    left = margin + acc.unrealized_pnl(sign, quantity, entry, price)
    assert left == pytest.approx(quantity * price * mmr, rel=1e-6)


def test_maintenance_rates() -> None:
    assert acc.default_maintenance_rate(50) == 0.01
    assert acc.default_maintenance_rate(125) == 0.004
    assert acc.default_maintenance_rate(0) == 0.01
    assert acc.default_maintenance_rate(float("nan")) == 0.01
    caps, rates, deductions = (np.array(row) for row in ([500.0, 2000.0], [0.01, 0.05], [0.0, 20.0]))

    def rate(notional: float) -> float:
        return acc.tier_maintenance_rate(notional, caps, rates, deductions, 0, 2, 0.5)

    assert rate(500) == 0.01
    assert rate(1000) == pytest.approx(0.03)
    assert rate(1e6) == pytest.approx(0.05 - 20 / 1e6)  # beyond the last cap the last tier holds
    assert acc.tier_maintenance_rate(1000, caps, rates, deductions, 0, 0, 0.5) == 0.5


def test_levels_are_percent_of_the_entry() -> None:
    assert acc.stop_price(1, 100, 5) == 95
    assert acc.stop_price(-1, 100, 5) == 105
    assert acc.target_price(1, 100, 10) == 110
    assert acc.target_price(-1, 100, 10) == 90
    assert acc.trailing_price(1, 120, 10) == 108
    assert acc.trailing_price(-1, 80, 10) == 88
    assert all(isnan(level(1, 100, 0)) for level in (acc.stop_price, acc.target_price, acc.trailing_price))
    assert acc.follow_best(1, 100, 110, 90) == 110
    assert acc.follow_best(-1, 100, 110, 90) == 90


@given(signs, st.integers(1, 10**7), st.integers(1, 999))
def test_a_price_on_the_level_touches_it(sign: float, ticks: int, tenths: int) -> None:
    """Whole ticks and tenths of a percent: the level as people reckon it, not as floats do."""
    entry, percent = ticks / 100, tenths / 10
    level = (ticks * (1000 - int(sign) * tenths)) / 100_000
    assert acc.is_beyond(sign, level, acc.stop_price(sign, entry, percent))
    step = level * 1e-9
    assert not acc.is_beyond(sign, level + sign * step, acc.stop_price(sign, entry, percent))


NONE = float("nan")


@pytest.mark.parametrize(
    ("sign", "bar", "marks", "levels", "expected"),
    [
        # levels: liquidation, stop, trailing, target
        (1, (100, 105, 95), (NONE, NONE), (0, NONE, NONE, NONE), (acc.EXIT_NONE, None)),
        (1, (100, 105, 94), (NONE, NONE), (90, 95, NONE, NONE), (acc.EXIT_STOP, 95)),
        (1, (100, 105, 89), (NONE, NONE), (95, 90, NONE, NONE), (acc.EXIT_LIQUIDATION, 95)),
        (1, (100, 105, 89), (NONE, NONE), (95, 95, NONE, NONE), (acc.EXIT_LIQUIDATION, 95)),
        (1, (93, 105, 89), (NONE, NONE), (90, 95, NONE, NONE), (acc.EXIT_STOP, 93)),
        (1, (100, 105, 89), (106, 96), (95, NONE, NONE, NONE), (acc.EXIT_NONE, None)),
        (1, (100, 105, 96), (106, 94), (95, NONE, NONE, NONE), (acc.EXIT_LIQUIDATION, 95)),
        (1, (100, 105, 94), (NONE, NONE), (0, 95, 97, 104), (acc.EXIT_STOP, 95)),
        (1, (100, 105, 96), (NONE, NONE), (0, 95, 97, 104), (acc.EXIT_TRAILING, 97)),
        (1, (100, 105, 98), (NONE, NONE), (0, 95, 97, 104), (acc.EXIT_TARGET, 104)),
        (1, (107, 108, 98), (NONE, NONE), (0, 95, 97, 104), (acc.EXIT_TARGET, 107)),
        (1, (107, 108, 95), (NONE, NONE), (0, 95, NONE, 104), (acc.EXIT_STOP, 95)),
        (-1, (100, 106, 95), (NONE, NONE), (110, 105, NONE, NONE), (acc.EXIT_STOP, 105)),
        (-1, (100, 111, 95), (NONE, NONE), (105, 110, NONE, NONE), (acc.EXIT_LIQUIDATION, 105)),
        (-1, (100, 104, 95), (NONE, NONE), (120, 105, 103, 96), (acc.EXIT_TRAILING, 103)),
        (-1, (94, 100, 93), (NONE, NONE), (120, 105, 103, 96), (acc.EXIT_TARGET, 94)),
        (-1, (100, 104, 95), (NONE, NONE), (inf, NONE, NONE, NONE), (acc.EXIT_NONE, None)),
    ],
)
def test_inside_a_bar(
    sign: float,
    bar: tuple[float, float, float],
    marks: tuple[float, float],
    levels: tuple[float, float, float, float],
    expected: tuple[int, float | None],
) -> None:
    kind, price = acc.inside_exit(sign, *bar, *marks, *levels)
    assert (kind, None if isnan(price) else price) == expected
