"""Candle tables in, money out: the backtest route against figures worked out by hand.

Capital is 1,000 without fees and funding unless a case says otherwise; a fill at 100 is then ten coins. Each expected
trade is (side, entry bar, entry price, exit bar, exit price, reason, pnl).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.acceptance.lab import LOUD, Lab, at, gated, group, table

LONG = """
100 100 100 100
100 101 100 101 B
"""
SHORT = """
100 100 100 100
100 100  99  99 S
"""


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    bars: str
    trades: list[tuple[str, int, float, int, float, str, float]]
    final: float
    direction: str = "long"
    asked: dict[str, Any] = field(default_factory=dict)
    drawdown: float | None = None


CASES = [
    Case("a long is held from the open after the buy to the open after the sell",
         LONG + "100 110 100 108\n108 109 104 105 S\n106 107 105 106",
         [("long", 2, 100, 4, 106, "signal", 60)], 1060, drawdown=30 / 1080 * 100),
    Case("a short is opened by a sell and closed by a buy",
         SHORT + "100 101 95 96\n96 99 96 98 B\n97 98 97 97",
         [("short", 2, 100, 4, 97, "signal", 30)], 1030, "short", drawdown=20 / 1040 * 100),
    Case("both ways: a reversal closes, then opens, at one open",
         LONG + "100 110 100 108\n108 109 104 105 S\n106 107 105 106\n106 106 100 100",
         [("long", 2, 100, 4, 106, "signal", 60), ("short", 4, 106, 5, 100, "open", 60)], 1120, "both"),
    Case("long only: a sell closes and opens nothing",
         LONG + "100 110 100 108\n108 109 104 105 S\n106 107 105 106\n106 106 100 100",
         [("long", 2, 100, 4, 106, "signal", 60)], 1060),
    Case("long only: a sell while flat does nothing", SHORT + "100 101 95 96\n96 97 95 96", [], 1000),
    Case("short only: a buy while flat does nothing", LONG + "100 101 95 96\n96 97 95 96", [], 1000, "short"),
    Case("a signal on the last bar never fills", LONG, [], 1000, drawdown=0),
    Case("nor with fills at the close", LONG, [], 1000, asked={"fill_price": "close"}),
    Case("a buy while long does nothing",
         LONG + "100 110 100 108\n108 111 108 110 B\n111 112 110 112\n112 112 111 111 S\n111 112 110 110",
         [("long", 2, 100, 6, 111, "signal", 110)], 1110),
    Case("a position open at the end is valued at the last close, without an exit fee",
         LONG + "100 110 100 108", [("long", 2, 100, 2, 108, "open", 1000 / 1.01 * 0.08 - 1000 / 1.01 * 0.01)],
         1000 / 1.01 * 1.08, asked={"trade_fee_rate": 0.01}),
    Case("all-in means all-in after fees; both sides pay",
         LONG + "100 110 100 108\n108 109 104 105 S\n106 107 105 106",
         [("long", 2, 100, 4, 106, "signal", 1000 / 1.01 * (0.06 - 0.01 - 0.0106))], 1000 / 1.01 * 1.06 * 0.99,
         asked={"trade_fee_rate": 0.01}),
    Case("half of the equity: the fee comes on top of the margin",
         LONG + "100 110 100 108\n108 109 104 105 S\n106 107 105 106",
         [("long", 2, 100, 4, 106, "signal", 30 - 5 - 5.3)], 1019.7,
         asked={"trade_fee_rate": 0.01, "position_size_percent": 50}),
    Case("levered all-in: margin = cash / (1 + fee x leverage)",
         LONG + "100 110 100 108\n108 109 104 105 S\n106 107 105 106",
         [("long", 2, 100, 4, 106, "signal", 1000 / 1.03 * 3 * (0.06 - 0.01 - 0.0106))],
         1000 + 1000 / 1.03 * 3 * (0.06 - 0.01 - 0.0106), asked={"trade_fee_rate": 0.01, "leverage": 3}),
    Case("slippage moves both fills of a long against it",
         LONG + "100 110 100 108\n108 109 104 105 S\n106 107 105 106",
         [("long", 2, 101, 4, 104.94, "signal", 1000 / 101 * 3.94)], 1000 / 101 * 104.94, asked={"slippage_bps": 100}),
    Case("and both fills of a short",
         SHORT + "100 101 95 96\n96 99 96 98 B\n97 98 97 97",
         [("short", 2, 99, 4, 97.97, "signal", 1000 / 99 * 1.03)], 1000 + 1000 / 99 * 1.03, "short",
         {"slippage_bps": 100}),
    Case("a stop touched exactly, in the bar of entry",
         LONG + "100 101 95 100\n100 100 100 100", [("long", 2, 100, 2, 95, "stop_loss", -50)], 950,
         asked={"stop_loss_percent": 5}, drawdown=5),
    Case("a stop missed by a cent",
         LONG + "100 101 95.01 100\n100 100 100 100", [("long", 2, 100, 3, 100, "open", 0)], 1000,
         asked={"stop_loss_percent": 5}),
    Case("a bar that opens beyond the stop fills at its open",
         LONG + "100 101 99 100\n90 92 88 91\n91 91 91 91", [("long", 2, 100, 3, 90, "stop_loss", -100)], 900,
         asked={"stop_loss_percent": 5}),
    Case("a short's stop lies above",
         SHORT + "100 105 99 100\n100 100 100 100", [("short", 2, 100, 2, 105, "stop_loss", -50)], 950, "short",
         {"stop_loss_percent": 5}),
    Case("a short's stop beyond the open fills at the open",
         SHORT + "100 101 99 100\n108 109 107 108\n108 108 108 108",
         [("short", 2, 100, 3, 108, "stop_loss", -80)], 920, "short", {"stop_loss_percent": 5}),
    Case("a target touched in the bar of entry",
         LONG + "100 105 99 100\n100 100 100 100", [("long", 2, 100, 2, 105, "take_profit", 50)], 1050,
         asked={"take_profit_percent": 5}),
    Case("a target of ten percent is touched at 110, whatever floats make of it",
         LONG + "100 110 99 100\n100 100 100 100", [("long", 2, 100, 2, 110, "take_profit", 100)], 1100,
         asked={"take_profit_percent": 10}),
    Case("a bar that opens beyond the target fills at its open",
         LONG + "100 101 99 100\n112 113 111 112\n112 112 112 112",
         [("long", 2, 100, 3, 112, "take_profit", 120)], 1120, asked={"take_profit_percent": 5}),
    Case("a short's target lies below",
         SHORT + "100 101 95 100\n100 100 100 100", [("short", 2, 100, 2, 95, "take_profit", 50)], 1050, "short",
         {"take_profit_percent": 5}),
    Case("a short's target beyond the open fills at the open",
         SHORT + "100 101 99 100\n90 91 89 90\n90 90 90 90",
         [("short", 2, 100, 3, 90, "take_profit", 100)], 1100, "short", {"take_profit_percent": 5}),
    Case("stop and target in one bar: the stop",
         LONG + "100 106 94 100\n100 100 100 100", [("long", 2, 100, 2, 95, "stop_loss", -50)], 950,
         asked={"stop_loss_percent": 5, "take_profit_percent": 5}),
    Case("stops are percent of the entry as filled, and slip themselves",
         LONG + "100 101 95 100\n100 100 100 100",
         [("long", 2, 101, 2, 95.95 * 0.99, "stop_loss", 1000 / 101 * (95.95 * 0.99 - 101))],
         1000 / 101 * 95.95 * 0.99, asked={"stop_loss_percent": 5, "slippage_bps": 100}),
    Case("a target slips as well",
         LONG + "100 107 100 100\n100 100 100 100",
         [("long", 2, 101, 2, 106.05 * 0.99, "take_profit", 1000 / 101 * (106.05 * 0.99 - 101))],
         1000 / 101 * 106.05 * 0.99, asked={"take_profit_percent": 5, "slippage_bps": 100}),
    Case("a stop is percent of the price, not of the margin",
         LONG + "100 101 95 100\n100 100 100 100", [("long", 2, 100, 2, 95, "stop_loss", -100)], 900,
         asked={"stop_loss_percent": 5, "leverage": 2}),
    Case("a trailing stop follows the highs of the bars before",
         LONG + "100 110 100 109\n109 120 104 118\n118 118 118 118",
         [("long", 2, 100, 3, 104.5, "trailing_stop", 45)], 1045, asked={"trailing_stop_percent": 5}),
    Case("a trailing stop starts at the entry price",
         LONG + "100 110 95 109\n109 109 109 109", [("long", 2, 100, 2, 95, "trailing_stop", -50)], 950,
         asked={"trailing_stop_percent": 5}),
    Case("a bar that opens beyond the trailing stop fills at its open",
         LONG + "100 110 100 109\n103 104 102 103\n103 103 103 103",
         [("long", 2, 100, 3, 103, "trailing_stop", 30)], 1030, asked={"trailing_stop_percent": 5}),
    Case("a short's trailing stop follows the lows",
         SHORT + "100 100 90 91\n91 95 91 92\n92 92 92 92",
         [("short", 2, 100, 3, 94.5, "trailing_stop", 55)], 1055, "short", {"trailing_stop_percent": 5}),
    Case("the stop-loss comes before the trailing stop",
         LONG + "100 103 100 102\n102 102 94 95\n95 95 95 95",
         [("long", 2, 100, 3, 95, "stop_loss", -50)], 950,
         asked={"trailing_stop_percent": 4, "stop_loss_percent": 5}),
    Case("the trailing stop comes before the target",
         LONG + "100 103 100 102\n102 111 97 100\n100 100 100 100",
         [("long", 2, 100, 3, 103 * 0.95, "trailing_stop", -21.5)], 978.5,
         asked={"trailing_stop_percent": 5, "take_profit_percent": 10}),
    Case("after a stop a buy opens again",
         LONG + "100 100 95 96\n96 98 96 97 B\n95 95 95 95",
         [("long", 2, 100, 2, 95, "stop_loss", -50), ("long", 4, 95, 4, 95, "open", 0)], 950,
         asked={"stop_loss_percent": 5}),
    Case("stopped in the very bar that gives a buy: the flat account buys",
         LONG + "100 102 95 102 B\n95 95 95 95",
         [("long", 2, 100, 2, 95, "stop_loss", -50), ("long", 3, 95, 3, 95, "open", 0)], 950,
         asked={"stop_loss_percent": 5}),
    Case("a long of leverage 5 loses its whole margin at 4000 / 49.5",
         LONG + "100 101 80.80 100\n100 100 100 100",
         [("long", 2, 100, 2, 4000 / 49.5, "liquidation", -1000)], 0,
         asked={"leverage": 5, "maintenance_margin_rate": 0.01}, drawdown=100),
    Case("and lives at 80.81",
         LONG + "100 101 80.81 100\n100 100 100 100", [("long", 2, 100, 3, 100, "open", 0)], 1000,
         asked={"leverage": 5, "maintenance_margin_rate": 0.01}),
    Case("of an instrument that nothing is known of one percent is kept",
         LONG + "100 101 80.80 100\n100 100 100 100",
         [("long", 2, 100, 2, 4000 / 49.5, "liquidation", -1000)], 0, asked={"leverage": 5}),
    Case("a short of leverage 5 is liquidated at 6000 / 50.5",
         SHORT + "100 118.82 100 100\n100 100 100 100",
         [("short", 2, 100, 2, 6000 / 50.5, "liquidation", -1000)], 0, "short",
         {"leverage": 5, "maintenance_margin_rate": 0.01}),
    Case("a short of leverage 1 at 2000 / 10.1",
         SHORT + "100 198.02 100 100\n100 100 100 100",
         [("short", 2, 100, 2, 2000 / 10.1, "liquidation", -1000)], 0, "short", {"maintenance_margin_rate": 0.01}),
    Case("a long of leverage 1 is never liquidated",
         LONG + "100 100 0.1 1\n1 1 1 1", [("long", 2, 100, 3, 1, "open", -990)], 10, drawdown=99),
    Case("an open beyond the liquidation price comes before the order that would have closed there",
         LONG + "100 101 99 100\n100 100 98 98 S\n70 70 70 70",
         [("long", 2, 100, 4, 70, "liquidation", -1000)], 0, asked={"leverage": 5}),
    Case("the nearer of stop and liquidation: the stop",
         LONG + "100 101 70 100\n100 100 100 100", [("long", 2, 100, 2, 90, "stop_loss", -500)], 500,
         asked={"leverage": 5, "stop_loss_percent": 10}),
    Case("the nearer of stop and liquidation: the liquidation",
         LONG + "100 101 60 100\n100 100 100 100",
         [("long", 2, 100, 2, 4000 / 49.5, "liquidation", -1000)], 0,
         asked={"leverage": 5, "stop_loss_percent": 30}),
    Case("liquidation comes before the target",
         LONG + "100 120 60 100\n100 100 100 100",
         [("long", 2, 100, 2, 4000 / 49.5, "liquidation", -1000)], 0,
         asked={"leverage": 5, "take_profit_percent": 10}),
    Case("no close returns less than zero: a stop that slips past the margin",
         LONG + "100 101 96 100\n100 100 100 100",
         [("long", 2, 101, 2, 101 * 0.952 * 0.99, "stop_loss", -1000)], 0,
         asked={"leverage": 20, "maintenance_margin_rate": 0.001, "stop_loss_percent": 4.8, "slippage_bps": 100}),
    Case("a buy while long is no order: liquidated at the next open the account stays flat",
         LONG + "100 101 99 100\n100 102 100 102 B\n70 75 70 75\n75 75 75 75",
         [("long", 2, 100, 4, 70, "liquidation", -500)], 500, asked={"leverage": 5, "position_size_percent": 50}),
    Case("an order waits for the coin's next bar",
         LONG + "-\n-\n104 110 100 104\n104 104 104 104",
         [("long", 4, 104, 5, 104, "open", 0)], 1000),
    Case("a notional under 1 is not opened", LONG + "100 101 99 100\n100 100 100 100", [], 1000,
         asked={"position_size_percent": 0.09}),
    Case("a notional of 1 is", LONG + "100 101 99 100\n110 110 110 110",
         [("long", 2, 100, 3, 110, "open", 0.1)], 1000.1, asked={"position_size_percent": 0.1}),
    Case("fill_price close: at the close that was decided on",
         LONG + "103 110 90 108\n108 109 104 105 S\n106 107 105 106",
         [("long", 1, 101, 3, 105, "signal", 1000 / 101 * 4)], 1000 / 101 * 105, asked={"fill_price": "close"}),
    Case("fill_price close: the stop watches from the next bar on",
         "100 100 100 100\n100 101 90 101 B\n101 102 95 100\n100 100 100 100",
         [("long", 1, 101, 2, 95.95, "stop_loss", -50)], 950, asked={"fill_price": "close", "stop_loss_percent": 5}),
    Case("fill_price mid: in the middle of the next bar's range",
         LONG + "103 110 90 108\n108 109 104 105 S\n106 108 104 106",
         [("long", 2, 100, 4, 106, "signal", 60)], 1060, asked={"fill_price": "mid"}),
]  # fmt: skip


def check_trades(report: dict[str, Any], coin: str, expected: list[tuple[Any, ...]]) -> None:
    told = [
        (row["side"], row["entry_time"], row["entry_price"], row["exit_time"], row["exit_price"], row["exit_reason"],
         row["pnl"])
        for row in report["trades"] if row["coin"] == coin
    ]  # fmt: skip
    assert len(told) == len(expected), told
    for row, (side, entered, entry, left, exit_, reason, pnl) in zip(told, expected, strict=True):
        assert row[:2] == (side, at(entered))
        assert (row[3], row[5]) == (at(left), reason)
        assert (row[2], row[4]) == pytest.approx((entry, exit_), rel=1e-12)
        assert row[6] == pytest.approx(pnl, abs=1e-9 * 1000)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_candle_table(lab: Lab, case: Case) -> None:
    coin = lab.store(table(case.bars))
    report = lab.run(coin, gated(case.direction), **case.asked)
    check_trades(report, coin, case.trades)
    assert report["summary"]["final_value"] == pytest.approx(case.final, abs=1e-9 * 1000)
    if case.drawdown is not None:
        assert report["summary"]["max_drawdown"] == pytest.approx(case.drawdown, abs=1e-9)
    check_consistency(report, 1000.0)


def check_consistency(report: dict[str, Any], capital: float) -> None:
    """What must hold of every report, whatever the market did."""
    summary, trades, values = report["summary"], report["trades"], report["account_values"]
    closed = [row for row in trades if row["exit_reason"] != "open"]
    assert summary["initial_capital"] == capital
    assert summary["final_value"] == pytest.approx(capital + sum(row["pnl"] for row in trades), abs=1e-9 * capital)
    assert summary["total_return"] == pytest.approx(summary["final_value"] - capital, abs=1e-9 * capital)
    assert summary["return_percentage"] == pytest.approx(summary["total_return"] / capital * 100, abs=1e-9)
    assert summary["total_fees"] == pytest.approx(sum(row["fee"] for row in trades), abs=1e-9 * capital)
    assert summary["total_trades"] == len(closed)
    assert summary["winning_trades"] == sum(row["pnl"] > 0 for row in closed)
    assert summary["winning_trades"] + summary["losing_trades"] <= len(closed)
    if closed:
        assert summary["win_rate"] == pytest.approx(100 * summary["winning_trades"] / len(closed))
    for row in values:
        assert row["value"] == pytest.approx(row["cash"] + row["positions_value"], abs=1e-9 * capital)
    assert values[-1]["value"] == pytest.approx(summary["final_value"], abs=1e-9 * capital)
    for row in trades:
        margin = row["quantity"] * row["entry_price"] / row["leverage"]
        assert row["pnl_percent"] == pytest.approx(row["pnl"] / margin * 100, abs=1e-6)


def test_a_bar_with_both_signals_gives_neither(lab: Lab) -> None:
    coin = lab.store(table(LONG + "100 110 100 108\n108 109 104 105 S\n106 107 105 106"))
    both = {"name": "both", "direction": "both", "buy_groups": [group(LOUD)], "sell_groups": [group(LOUD)]}
    report = lab.run(coin, both)
    assert report["trades"] == []
    assert report["summary"]["final_value"] == 1000
    assert report["summary"]["total_trades"] == 0


QUARTERS = {
    "the target first": ("100 106 99 105\n105 105 98 98\n98 98 94 95\n95 101 95 100", 105, "take_profit", 50),
    "the stop first": ("100 101 94 95\n95 106 95 105\n105 105 98 98\n98 101 98 100", 95, "stop_loss", -50),
    "both in one quarter": ("100 106 94 100\n100 100 100 100\n100 100 100 100\n100 100 100 100", 95, "stop_loss", -50),
}


@pytest.mark.parametrize("order", QUARTERS)
def test_finer_candles_tell_what_came_first(lab: Lab, order: str) -> None:
    quarters, price, reason, pnl = QUARTERS[order]
    detail = table(quarters, start=at(2), step=900_000)
    coin = lab.store(table(LONG + "100 106 94 100\n100 100 100 100"), detail=detail)
    asked = {"stop_loss_percent": 5, "take_profit_percent": 5}
    report = lab.run(coin, gated(), detail_interval="15m", interval="1h", **asked)
    check_trades(report, coin, [("long", 2, 100, 2, price, reason, pnl)])
    without = lab.run(coin, gated(), interval="1h", **asked)
    check_trades(without, coin, [("long", 2, 100, 2, 95, "stop_loss", -50)])


def test_finer_candles_do_not_better_a_target_that_was_met_alone(lab: Lab) -> None:
    detail = table("100 102 99 101\n107 108 106 107\n107 108 106 107\n107 107 106 106", start=at(2), step=900_000)
    coin = lab.store(table(LONG + "100 108 99 106\n106 106 106 106"), detail=detail)
    asked = {"stop_loss_percent": 5, "take_profit_percent": 5}
    report = lab.run(coin, gated(), detail_interval="15m", interval="1h", **asked)
    check_trades(report, coin, [("long", 2, 100, 2, 105, "take_profit", 50)])


# -- funding ----------------------------------------------------------------------------------------

FLAT = "100 101 99 100\n" * 8
RATE = 0.002


@pytest.mark.parametrize(
    ("what", "bars", "direction", "asked", "market", "rates", "paid"),
    [
        ("a perpetual's long pays the assumed rate at 08:00", LONG + FLAT, "long", {}, "perp", [], -1000 * 0.0001),
        ("a spot long owns its coins", LONG + FLAT, "long", {}, "spot", [], 0.0),
        ("a levered spot long pays", LONG + FLAT, "long", {"leverage": 2}, "spot", [], -2000 * 0.0001),
        ("a short without stored rates gets nothing", SHORT + FLAT, "short", {}, "perp", [], 0.0),
        ("a short gets the stored rate", SHORT + FLAT, "short", {}, "perp", [(4, RATE)], 1000 * RATE),
        ("on spot candles too", SHORT + FLAT, "short", {}, "spot", [(4, RATE)], 1000 * RATE),
        ("a short pays a negative rate", SHORT + FLAT, "short", {}, "perp", [(4, -RATE)], -1000 * RATE),
        ("a long pays the stored rate", LONG + FLAT, "long", {}, "perp", [(4, RATE)], -1000 * RATE),
        ("an unlevered spot long pays no stored rate", LONG + FLAT, "long", {}, "spot", [(4, RATE)], 0.0),
        ("a long gets a negative rate", LONG + FLAT, "long", {}, "perp", [(4, -RATE)], 1000 * RATE),
        ("none asked, none paid", LONG + FLAT, "long", {"funding": "none"}, "perp", [(4, RATE)], 0.0),
        ("due at the open of entry: not on what opens there", LONG + FLAT, "long", {}, "perp", [(2, RATE)], 0.0),
        ("late by 59 s: the full minute's", LONG + FLAT, "long", {}, "perp", [(2 + 59 / 3600, RATE)], 0.0),
        ("due inside the bar of entry: paid", LONG + FLAT, "long", {}, "perp", [(2.5, RATE)], -1000 * RATE),
        ("a minute late is inside", LONG + FLAT, "long", {}, "perp", [(2 + 60 / 3600, RATE)], -1000 * RATE),
        ("before it opened: nothing", LONG + FLAT, "long", {}, "perp", [(1.5, RATE)], 0.0),
        ("at the bar's open price", LONG + "100 101 99 100\n150 150 150 150\n150 150 150 150", "long", {}, "perp",
         [(3.5, RATE)], -1500 * RATE),
        ("due where no bar is: at the last bar's open price", LONG + "100 130 99 120\n-\n-\n140 140 140 140", "long",
         {}, "perp", [(4, RATE)], -1000 * RATE),
        ("hourly rates are hourly", LONG + FLAT, "long", {}, "perp", [(h, RATE) for h in range(12)], -7000 * RATE),
        ("beyond the stored rates the assumed one", LONG + FLAT, "long", {}, "perp", [(h, RATE) for h in range(7)],
         -4000 * RATE - 1000 * 0.0001),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value and "\n" not in value else "",
)  # fmt: skip
def test_funding(
    lab: Lab, what: str, bars: str, direction: str, asked: dict[str, Any], market: str,
    rates: list[tuple[float, float]], paid: float,
) -> None:  # fmt: skip
    coin = lab.store(table(bars), market=market, rates=[(at(hour), rate) for hour, rate in rates])
    report = lab.run(coin, gated(direction), **{"funding": "auto", **asked})
    [trade] = report["trades"]
    assert trade["funding"] == pytest.approx(paid, abs=1e-9), what
    price = report["account_values"][-1]["value"] - 1000 - paid
    gross = trade["quantity"] * (trade["exit_price"] - trade["entry_price"]) * (1 if direction == "long" else -1)
    assert price == pytest.approx(gross, abs=1e-9)
    assert trade["pnl"] == pytest.approx(gross + paid, abs=1e-9)


def test_funding_at_an_open_comes_before_the_close_at_that_open(lab: Lab) -> None:
    coin = lab.store(table(LONG + "100 101 99 100\n100 100 98 98 S\n110 110 110 110\n110 110 110 110"),
                     market="perp", rates=[(at(4), RATE)])  # fmt: skip
    report = lab.run(coin, gated(), funding="auto")
    check_trades(report, coin, [("long", 2, 100, 4, 110, "signal", 100 - 1100 * RATE)])


def test_funding_moves_the_liquidation_price(lab: Lab) -> None:
    """20 x of 1,000: (20000 - 1000) / 198 = 95.96; after 1 % of 20,000 it is (20000 - 800) / 198 = 96.97."""
    bars = LONG + "100 101 99 100\n100 101 99 100\n100 100 96.5 100\n100 100 100 100"
    coin = lab.store(table(bars), market="perp", rates=[(at(3), 0.01)])
    asked = {"leverage": 20, "maintenance_margin_rate": 0.01}
    check_trades(lab.run(coin, gated(), funding="none", **asked), coin, [("long", 2, 100, 5, 100, "open", 0)])
    report = lab.run(coin, gated(), funding="auto", **asked)
    check_trades(report, coin, [("long", 2, 100, 4, 19200 / 198, "liquidation", -1000)])
    assert report["trades"][0]["funding"] == pytest.approx(-200)


# -- marks ------------------------------------------------------------------------------------------


def test_marks_trigger_the_liquidation_where_they_are_stored(lab: Lab) -> None:
    bars = LONG + "100 101 70 100\n100 100 100 100\n100 100 100 100"
    calm = lab.store(table(bars), market="perp", marks=table(LONG + "100 101 90 100\n" + "100 100 100 100\n" * 2))
    report = lab.run(calm, gated(), leverage=5)
    check_trades(report, calm, [("long", 2, 100, 4, 100, "open", 0)])
    wild = lab.store(table(LONG + "100 101 99 100\n" * 1 + "100 101 99 100\n100 100 100 100"), market="perp",
                     marks=table(LONG + "100 101 99 100\n100 101 80 100\n100 100 100 100"))  # fmt: skip
    report = lab.run(wild, gated(), leverage=5)
    [trade] = report["trades"]
    assert (trade["exit_reason"], trade["exit_time"], trade["pnl"]) == ("liquidation", at(3), pytest.approx(-1000))


# -- several coins, one purse ---------------------------------------------------------------------------

TWO = "100 101 99 100\n100 110 100 110"


def test_the_second_coin_is_sized_after_the_fee_of_the_first(lab: Lab) -> None:
    coins = [lab.store(table(LONG + TWO)) for _ in range(2)]
    report = lab.run(coins, gated(), trade_fee_rate=0.01, position_size_percent=40)
    first, second = (next(row for row in report["trades"] if row["coin"] == coin) for coin in coins)
    assert first["quantity"] == pytest.approx(4, abs=1e-12)
    assert second["quantity"] == pytest.approx(996 * 0.4 / 100, abs=1e-12)
    check_consistency(report, 1000)


def test_what_the_purse_cannot_carry_shrinks_in_the_order_of_the_pool(lab: Lab) -> None:
    coins = [lab.store(table(LONG + TWO)) for _ in range(3)]
    report = lab.run(coins[::-1], gated(), position_size_percent=60)
    assert {row["coin"]: row["quantity"] for row in report["trades"]} == {
        coins[2]: pytest.approx(6), coins[1]: pytest.approx(4)
    }  # fmt: skip


def test_closes_fill_before_opens(lab: Lab) -> None:
    """The first coin's buy and the second coin's sell are decided at one close: the money is there."""
    late = lab.store(table("100 100 100 100\n" * 3 + "100 101 100 101 B\n100 100 100 100\n100 100 100 100"))
    early = lab.store(table(LONG + "100 110 100 110\n110 110 104 105 S\n120 120 120 120\n120 120 120 120"))
    report = lab.run([late, early], gated(), position_size_percent=100)
    check_trades(report, early, [("long", 2, 100, 4, 120, "signal", 200)])
    check_trades(report, late, [("long", 4, 100, 5, 100, "open", 0)])
    assert next(row for row in report["trades"] if row["coin"] == late)["quantity"] == pytest.approx(12)


def test_a_coin_without_a_bar_is_valued_at_its_last_close(lab: Lab) -> None:
    holey = lab.store(table(LONG + "100 110 100 110\n-\n-\n110 110 110 110"))
    whole = lab.store(table("100 100 100 100\n" * 3 + "100 101 100 101 B\n100 100 100 100\n100 100 100 100"))
    report = lab.run([holey, whole], gated())
    values = {row["timestamp"]: row["value"] for row in report["account_values"]}
    assert values[at(3)] == pytest.approx(1050)
    # sized at bar 4 of equity 1050 (500 in cash, 5 coins at the last close of 110): 525, but 500 is there
    assert next(row for row in report["trades"] if row["coin"] == whole)["quantity"] == pytest.approx(5)


def test_win_rate_counts_closed_trades_alone(lab: Lab) -> None:
    bars = (
        LONG + "100 110 100 108\n108 109 104 105 S\n106 107 105 106\n106 108 106 107 B\n106 107 100 101\n"
        "101 102 99 100 S\n100 101 99 100\n100 102 100 101 B\n100 101 99 100"
    )
    coin = lab.store(table(bars))
    report = lab.run(coin, gated())
    assert [row["exit_reason"] for row in report["trades"]] == ["signal", "signal", "open"]
    summary = report["summary"]
    assert (summary["total_trades"], summary["winning_trades"], summary["losing_trades"]) == (2, 1, 1)
    assert summary["win_rate"] == 50
    check_consistency(report, 1000)


@pytest.mark.parametrize(
    ("venue", "folder", "symbol", "perpetual"),
    [
        ("okx", "spot", "{}-USDT", "{}-USDT-SWAP"),
        ("okx", "swap", "{}-USDT-SWAP", "{}-USDT-SWAP"),
        ("hyperliquid", "perp", "{}", "{}"),
        ("binance", "spot", "{}USDT", "{}USDT"),
    ],
)
def test_every_venue_settles_at_its_own_rates(lab: Lab, venue: str, folder: str, symbol: str, perpetual: str) -> None:
    name = lab.name()
    root = lab.folder / f"{name}-candles"
    lab.write(table(SHORT + FLAT), root / venue / folder / symbol.format(name) / "1h.parquet")
    lab.command("candles", "import", root)
    for other, rate in (("binance", 0.01), ("okx", 0.01), ("hyperliquid", 0.01)):
        known = {"binance": f"{name}USDT", "okx": f"{name}-USDT-SWAP", "hyperliquid": name}[other]
        path = lab.folder / f"{name}-rates" / other / f"{known}.parquet"
        lab.write_funding([(at(4), RATE if known == perpetual.format(name) and other == venue else rate)], path)
    lab.command("funding", "import", lab.folder / f"{name}-rates")
    report = lab.run(name, gated("short"), funding="auto")
    assert report["settings"]["venue"] == venue
    assert [row["funding"] for row in report["trades"]] == [pytest.approx(1000 * RATE)]


def test_finer_candles_do_not_tell_when_a_mark_was_touched(lab: Lab) -> None:
    """The mark passes the liquidation price in a bar that also meets the target: the margin is lost."""
    marks = table(LONG + "100 101 70 100\n100 100 100 100")
    detail = table("100 111 99 105\n105 106 99 100\n100 101 99 100\n100 101 99 100", start=at(2), step=900_000)
    coin = lab.store(table(LONG + "100 111 99 100\n100 100 100 100"), market="perp", marks=marks, detail=detail)
    report = lab.run(coin, gated(), detail_interval="15m", interval="1h", leverage=5, take_profit_percent=10)
    assert [(row["exit_reason"], row["pnl"]) for row in report["trades"]] == [("liquidation", pytest.approx(-1000))]
