"""One small table for every sentence of the bar order: bars in, trades out, numbers by hand.

Each case runs on the kernel and on the PaperBroker. Unless a case says otherwise: capital 1000, no
fee, no slippage, all-in, leverage 1, maintenance rate 1 %. All-in at 100 is then 10 coins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from domain.market import MaintenanceTier
from domain.times import HOUR_MS
from simulation.result import CoinInput, SimInput
from tests.fakes.candle_tables import Outcome, coin, finer, hour, marks_of, run_broker, run_kernel

ENGINES = {"kernel": run_kernel, "broker": run_broker}
COIN_OPTIONS = ("size_percent", "leverage", "mmr", "tiers", "marks", "detail", "funding")


@dataclass(frozen=True)
class Case:
    """`trades`: (side, entry hour, entry price, exit hour, exit price, reason, pnl).

    `final`: value at the last close.
    """

    name: str
    table: str
    trades: list[tuple[str, int, float, int, float, str, float]]
    final: float
    options: dict[str, Any] = field(default_factory=dict)

    def inputs(self) -> SimInput:
        options = dict(self.options)
        own = {name: options.pop(name) for name in COIN_OPTIONS if name in options}
        return build((coin("BTC", self.table, **own),), **options)


def build(coins: tuple[CoinInput, ...], **options: Any) -> SimInput:
    return SimInput(coins, **{"step_ms": HOUR_MS, "initial_capital": 1000.0, "fee_rate": 0.0, **options})


def rows(outcome: Outcome) -> list[tuple[str, int, float, int, float, str, float]]:
    return [
        (
            trade.side.value,
            hour(trade.entry_time_ms),
            pytest.approx(trade.entry_price, rel=1e-12),
            hour(trade.exit_time_ms),
            pytest.approx(trade.exit_price, rel=1e-12),
            trade.reason.value,
            pytest.approx(trade.pnl, rel=1e-9, abs=1e-9),
        )
        for trade in outcome.trades
    ]


def case(
    name: str, table: str, *trades: tuple[str, int, float, int, float, str, float], final: float, **options: Any
) -> Case:
    return Case(name, table, list(trades), final, options)


FILLS = [
    case(
        "a signal at a close fills at the next open, and so does its end",
        """
        100 101  99 100 b
        100 105  99 104 .
        104 106 103 105 s
        110 111 108 109 .
        """,
        ("long", 1, 100, 3, 110, "signal", 100),
        final=1100,
    ),
    case(
        "a sell signal opens a short at the next open and a buy signal ends it",
        """
        100 101  99 100 s
        100 102  90  95 b
         80  85  79  84 .
        """,
        ("short", 1, 100, 2, 80, "signal", 200),
        final=1200,
        direction="short",
    ),
    case(
        "a signal on the last bar never fills",
        """
        100 101  99 100 .
        100 101  99 100 b
        """,
        final=1000,
    ),
    case(
        "a closing signal on the last bar never fills either",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 121  99 120 s
        """,
        ("long", 1, 100, 2, 120, "open", 200),
        final=1200,
    ),
    case(
        "a signal in the direction held does nothing",
        """
        100 101  99 100 b
        100 101  99 100 b
        120 121 119 120 b
        130 131 129 130 s
        140 141 139 140 .
        """,
        ("long", 1, 100, 4, 140, "signal", 400),
        final=1400,
    ),
    case(
        "long only: a sell closes, opens nothing, and does nothing when flat",
        """
        100 101  99 100 s
        100 101  99 100 b
        100 101  99 100 s
        110 111 109 110 s
        120 121 119 120 .
        """,
        ("long", 2, 100, 3, 110, "signal", 100),
        final=1100,
    ),
    case(
        "short only: a buy closes and opens nothing",
        """
        100 101  99 100 b
        100 101  99 100 s
        100 101  99 100 b
         90  91  89  90 b
         50  51  49  50 .
        """,
        ("short", 2, 100, 3, 90, "signal", 100),
        final=1100,
        direction="short",
    ),
    case(
        "both: a sell reverses, close then open, all-in of what the close gave",
        """
        100 101  99 100 b
        100 101  99 100 s
        110 111 109 110 b
        100 101  99 100 .
        """,
        ("long", 1, 100, 2, 110, "signal", 100),
        ("short", 2, 110, 3, 100, "signal", 100),
        ("long", 3, 100, 3, 100, "open", 0),
        final=1200,
        direction="both",
    ),
    case(
        "what is open at the end is valued at the last close without an exit fee",
        """
        100 101  99 100 b
        100 111  99 110 .
        """,
        # notional 500, fee 5 in; 5 coins gain 50
        ("long", 1, 100, 1, 110, "open", 45),
        final=1045,
        size_percent=50,
        fee_rate=0.01,
    ),
    case(
        "fill_price close fills at the close decided on",
        """
        100 105  99 104 b
        110 121 109 120 s
        130 131 129 130 .
        """,
        ("long", 0, 104, 1, 120, "signal", 1000 / 104 * 16),
        final=1000 + 1000 / 104 * 16,
        fill_price="close",
    ),
    case(
        "fill_price mid fills in the middle of the next bar's range",
        """
        100 105  99 104 b
        110 120 100 118 s
        130 150 130 140 .
        """,
        ("long", 1, 110, 2, 140, "signal", 1000 / 110 * 30),
        final=1000 + 1000 / 110 * 30,
        fill_price="mid",
    ),
    case(
        "with fill_price close a signal on the last bar does not fill",
        """
        100 105  99 104 .
        110 121 109 120 b
        """,
        final=1000,
        fill_price="close",
    ),
    case(
        "an order waits for the coin's next bar through a gap",
        """
        100 101  99 100 b
        -
        -
        120 121 119 120 s
        -
        150 151 149 150 .
        """,
        ("long", 3, 120, 5, 150, "signal", 250),
        final=1250,
    ),
]

MONEY = [
    case(
        "all-in means all-in after fees: margin = cash / (1 + fee rate)",
        """
        100 101  99 100 b
        100 101  99 100 s
        110 111 109 110 .
        """,
        # margin 1000 / 1.25 = 800, fee 200; 8 coins at 110 = 880, fee 220
        ("long", 1, 100, 2, 110, "signal", 80 - 200 - 220),
        final=660,
        fee_rate=0.25,
    ),
    case(
        "fees are on the notional of both sides, of a short as well",
        """
        100 101  99 100 s
        100 101  99 100 b
         80  81  79  80 .
        """,
        # margin 500, 5 coins; fee 5 in, 4 out; profit 100
        ("short", 1, 100, 2, 80, "signal", 91),
        final=1091,
        direction="short",
        size_percent=50,
        fee_rate=0.01,
    ),
    case(
        "slippage moves both fills of a long against it",
        """
        100 101  99 100 b
        100 101  99 100 s
        200 201 199 200 .
        """,
        # in at 101, out at 198
        ("long", 1, 101, 2, 198, "signal", 500 / 101 * 97),
        final=1000 + 500 / 101 * 97,
        size_percent=50,
        slippage_rate=0.01,
    ),
    case(
        "slippage moves both fills of a short against it",
        """
        100 101  99 100 s
        100 101  99 100 b
         50  51  49  50 .
        """,
        # in at 99, out at 50.5
        ("short", 1, 99, 2, 50.5, "signal", 495 / 99 * 48.5),
        final=1000 + 5 * 48.5,
        size_percent=49.5,
        direction="short",
        slippage_rate=0.01,
    ),
    case(
        "slippage moves stops and targets too",
        """
        100 101  99 100 b
        100 100 100 100 .
        100 100  80  85 .
         85  86  84  85 .
        """,
        # in at 101, stop 10 % of it = 90.9, out at 90.9 x 0.99
        ("long", 1, 101, 2, 89.991, "stop_loss", 5 * (89.991 - 101)),
        final=1000 - 55.045,
        size_percent=50.5,
        slippage_rate=0.01,
        stop_loss_percent=10,
    ),
    case(
        "slippage moves the target of a short",
        """
        100 101  99 100 s
        100 100 100 100 .
        100 100  80  85 .
         85  86  84  85 .
        """,
        # in at 99, target 10 % = 89.1, bought back at 89.1 x 1.01
        ("short", 1, 99, 2, 89.991, "take_profit", 5 * (99 - 89.991)),
        final=1000 + 5 * 9.009,
        size_percent=49.5,
        direction="short",
        slippage_rate=0.01,
        take_profit_percent=10,
    ),
    case(
        "position_size_percent is the margin, notional is margin x leverage",
        """
        100 101  99 100 b
        100 101  99 100 s
        110 111 109 110 .
        """,
        # margin 200, notional 600, 6 coins
        ("long", 1, 100, 2, 110, "signal", 60),
        final=1060,
        size_percent=20,
        leverage=3,
    ),
    case(
        "leverage: what cash cannot carry shrinks to cash / (1 + fee rate x leverage)",
        """
        100 101  99 100 b
        100 101  99 100 s
        110 111 109 110 .
        """,
        # margin 1000 / (1 + 0.05 x 5) = 800, notional 4000, fee 200; 40 coins gain 400; fee 220 out
        ("long", 1, 100, 2, 110, "signal", 400 - 200 - 220),
        final=980,
        leverage=5,
        fee_rate=0.05,
    ),
    case(
        "a notional under 1 is not opened",
        """
        100 101  99 100 b
        100 101  99 100 .
        """,
        final=1000,
        size_percent=0.0999,
    ),
    case(
        "a notional of 1 is opened, leverage counted",
        """
        100 101  99 100 b
        100 121  99 120 .
        """,
        ("long", 1, 100, 1, 120, "open", 0.2),
        final=1000.2,
        size_percent=0.05,
        leverage=2,
    ),
    case(
        "size is a percentage of equity at the fill, gains included",
        """
        100 101  99 100 b
        100 101  99 100 s
        200 201 199 200 b
        100 101  99 100 s
        200 201 199 200 .
        """,
        # 500 doubles: equity 1500; 750 doubles
        ("long", 1, 100, 2, 200, "signal", 500),
        ("long", 3, 100, 4, 200, "signal", 750),
        final=2250,
        size_percent=50,
    ),
]

STOPS = [
    case(
        "a stop inside the bar fills at its level",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 102  94  98 .
         98  99  97  98 .
        """,
        ("long", 1, 100, 2, 95, "stop_loss", -50),
        final=950,
        stop_loss_percent=5,
    ),
    case(
        "the stop of a short lies above",
        """
        100 101  99 100 s
        100 101  99 100 .
        100 106  99 103 .
        103 104 102 103 .
        """,
        ("short", 1, 100, 2, 105, "stop_loss", -50),
        final=950,
        direction="short",
        stop_loss_percent=5,
    ),
    case(
        "a touched stop counts",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 102  95  98 .
        """,
        ("long", 1, 100, 2, 95, "stop_loss", -50),
        final=950,
        stop_loss_percent=5,
    ),
    case(
        "a stop that is not touched does not count",
        """
        100 101  99 100 b
        100 102  95.01  98 .
        """,
        ("long", 1, 100, 1, 98, "open", -20),
        final=980,
        stop_loss_percent=5,
    ),
    case(
        "a bar that opens beyond the stop fills at the open",
        """
        100 101  99 100 b
        100 101  99 100 .
         90  96  88  95 .
        """,
        ("long", 1, 100, 2, 90, "stop_loss", -100),
        final=900,
        stop_loss_percent=5,
    ),
    case(
        "a bar that opens beyond the stop of a short fills at the open",
        """
        100 101  99 100 s
        100 101  99 100 .
        110 112 104 105 .
        """,
        ("short", 1, 100, 2, 110, "stop_loss", -100),
        final=900,
        direction="short",
        stop_loss_percent=5,
    ),
    case(
        "the bar of entry is included for the stop",
        """
        100 101  99 100 b
        100 101  94  97 .
         97  98  96  97 .
        """,
        ("long", 1, 100, 1, 95, "stop_loss", -50),
        final=950,
        stop_loss_percent=5,
    ),
    case(
        "the bar of entry is included for the target",
        """
        100 101  99 100 s
        100 101  89  97 .
         97  98  96  97 .
        """,
        ("short", 1, 100, 1, 90, "take_profit", 100),
        final=1100,
        direction="short",
        take_profit_percent=10,
    ),
    case(
        "a target inside the bar fills at its level, touched counts",
        """
        100 101  99 100 b
        100 101  99 100 .
        105 110 104 105 .
        """,
        ("long", 1, 100, 2, 110, "take_profit", 100),
        final=1100,
        take_profit_percent=10,
    ),
    case(
        "a bar that opens beyond the target fills at the open",
        """
        100 101  99 100 b
        100 101  99 100 .
        115 116 104 105 .
        """,
        ("long", 1, 100, 2, 115, "take_profit", 150),
        final=1150,
        take_profit_percent=10,
    ),
    case(
        "a bar that opens beyond the target of a short fills at the open",
        """
        100 101  99 100 s
        100 101  99 100 .
         85  96  84  95 .
        """,
        ("short", 1, 100, 2, 85, "take_profit", 150),
        final=1150,
        direction="short",
        take_profit_percent=10,
    ),
    case(
        "stop and target both inside: the stop is taken",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 115  94 112 .
        """,
        ("long", 1, 100, 2, 95, "stop_loss", -50),
        final=950,
        stop_loss_percent=5,
        take_profit_percent=10,
    ),
    case(
        "stop and target both inside for a short: the stop is taken",
        """
        100 101  99 100 s
        100 101  99 100 .
        100 106  85  88 .
        """,
        ("short", 1, 100, 2, 105, "stop_loss", -50),
        final=950,
        direction="short",
        stop_loss_percent=5,
        take_profit_percent=10,
    ),
    case(
        "finer candles tell that the target came first",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 115  94 112 .
        """,
        ("long", 1, 100, 2, 110, "take_profit", 100),
        final=1100,
        stop_loss_percent=5,
        take_profit_percent=10,
        detail=finer(2, 15, "100 108 98 107\n107 115 106 110\n110 111 94 95\n95 112 95 112"),
    ),
    case(
        "finer candles tell that the stop came first, and at which gap",
        """
        100 101  99 100 s
        100 101  99 100 .
        100 112  85  88 .
        """,
        ("short", 1, 100, 2, 107, "stop_loss", -70),
        final=930,
        direction="short",
        stop_loss_percent=5,
        take_profit_percent=10,
        detail=finer(2, 15, "100 104 98 103\n107 112 106 110\n110 111 85 86\n86 89 85 88"),
    ),
    case(
        "a finer candle that holds both takes the stop",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 115  94 112 .
        """,
        ("long", 1, 100, 2, 95, "stop_loss", -50),
        final=950,
        stop_loss_percent=5,
        take_profit_percent=10,
        detail=finer(2, 30, "100 115 94 110\n110 112 109 112"),
    ),
    case(
        "stops are percent of the entry price, not of the margin",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 101  96  97 .
        100 101  95  97 .
        """,
        # margin 200, 10 coins: 5 % of the price is 25 % of the margin
        ("long", 1, 100, 3, 95, "stop_loss", -50),
        final=950,
        leverage=5,
        size_percent=20,
        stop_loss_percent=5,
    ),
    case(
        "levels are percent of the entry as filled, slippage included",
        """
        100 101  99 100 b
        100 111  99 110 .
        110 111.09 99 110 .
        110 111.1  99 110 .
        """,
        # in at 101, target 111.1, sold at 111.1 x 0.99
        ("long", 1, 101, 3, 109.989, "take_profit", 505 / 101 * (109.989 - 101)),
        final=1000 + 5 * 8.989,
        size_percent=50.5,
        slippage_rate=0.01,
        take_profit_percent=10,
    ),
    case(
        "after an exit inside a bar, that bar's close may open again",
        """
        100 101  99 100 b
        100 101  94  98 b
         90  91  89  90 s
         99 100  98  99 .
        """,
        ("long", 1, 100, 1, 95, "stop_loss", -50),
        ("long", 2, 90, 3, 99, "signal", 95),
        final=1045,
        stop_loss_percent=5,
    ),
    case(
        "an opposite signal at the close of a bar that stopped it out has nothing to close",
        """
        100 101  99 100 b
        100 101  94  98 s
         90  91  89  90 .
        """,
        ("long", 1, 100, 1, 95, "stop_loss", -50),
        final=950,
        stop_loss_percent=5,
    ),
    case(
        "an order to close fills at the open, before a stop inside that bar",
        """
        100 101  99 100 b
        100 101  99 100 s
        100 101  90  91 .
        """,
        ("long", 1, 100, 2, 100, "signal", 0),
        final=1000,
        stop_loss_percent=5,
    ),
    case(
        "an order to close fills at the open even where it opens beyond the stop: the same price",
        """
        100 101  99 100 b
        100 101  99 100 s
         90  91  89  90 .
        """,
        ("long", 1, 100, 2, 90, "signal", -100),
        final=900,
        stop_loss_percent=5,
    ),
]

TRAILING = [
    case(
        "the trailing stop follows the best price of the bars before this one",
        """
        100 101  99 100 b
        100 120 100 118 .
        118 120 109 110 .
        110 110 107 107 .
        """,
        # best 120 after bar 1: level 108; bar 2's low 109 holds, bar 3 touches
        ("long", 1, 100, 3, 108, "trailing_stop", 80),
        final=1080,
        trailing_stop_percent=10,
    ),
    case(
        "this bar's own high does not lift the trailing stop of this bar",
        """
        100 101  99 100 b
        100 110 100 108 .
        108 150 100 120 .
        140 141 134 140 .
        """,
        # level in bar 2: 99, not 135; in bar 3: 135
        ("long", 1, 100, 3, 135, "trailing_stop", 350),
        final=1350,
        trailing_stop_percent=10,
    ),
    case(
        "in the bar of entry it trails the entry price",
        """
        100 101  99 100 b
        100 130  90 125 .
        125 126 124 125 .
        """,
        ("long", 1, 100, 1, 90, "trailing_stop", -100),
        final=900,
        trailing_stop_percent=10,
    ),
    case(
        "a short's trailing stop follows the lowest low",
        """
        100 101  99 100 s
        100 101  80  82 .
         82  87  79  85 .
         85  87  80  86 .
        """,
        # 88 in bar 2, 86.9 in bar 3
        ("short", 1, 100, 3, 86.9, "trailing_stop", 131),
        final=1131,
        direction="short",
        trailing_stop_percent=10,
    ),
    case(
        "a bar that opens beyond the trailing stop fills at the open",
        """
        100 101  99 100 b
        100 120 100 118 .
        105 106 104 105 .
        """,
        ("long", 1, 100, 2, 105, "trailing_stop", 50),
        final=1050,
        trailing_stop_percent=10,
    ),
    case(
        "stop-loss before trailing stop",
        """
        100 101  99 100 b
        100 120 100 118 .
        118 119  94  96 .
        """,
        ("long", 1, 100, 2, 95, "stop_loss", -50),
        final=950,
        stop_loss_percent=5,
        trailing_stop_percent=10,
    ),
    case(
        "trailing stop before target",
        """
        100 101  99 100 b
        100 120 100 118 .
        118 131 107 130 .
        """,
        ("long", 1, 100, 2, 108, "trailing_stop", 80),
        final=1080,
        trailing_stop_percent=10,
        take_profit_percent=30,
    ),
]

# 10 x, margin 100, 10 coins at 100: long liquidation at 900 / 9.9 = 90.9090..., short at 1100 / 10.1 = 108.9108...
LEVERED = {"leverage": 10, "size_percent": 10}

LIQUIDATION = [
    case(
        "a liquidated long loses its whole margin",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 101  90  95 .
         95  96  94  95 .
        """,
        ("long", 1, 100, 2, 900 / 9.9, "liquidation", -100),
        final=900,
        **LEVERED,
    ),
    case(
        "a liquidated short loses its whole margin",
        """
        100 101  99 100 s
        100 101  99 100 .
        100 109  99 105 .
        105 106 104 105 .
        """,
        ("short", 1, 100, 2, 1100 / 10.1, "liquidation", -100),
        final=900,
        direction="short",
        **LEVERED,
    ),
    case(
        "a low above the liquidation price leaves it alone",
        """
        100 101  99 100 b
        100 101  91  95 .
        """,
        ("long", 1, 100, 1, 95, "open", -50),
        final=950,
        **LEVERED,
    ),
    case(
        "the bar of entry may liquidate",
        """
        100 101  99 100 b
        100 101  90  95 .
        """,
        ("long", 1, 100, 1, 900 / 9.9, "liquidation", -100),
        final=900,
        **LEVERED,
    ),
    case(
        "liquidation nearer than the stop comes first",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 101  80  85 .
        """,
        ("long", 1, 100, 2, 900 / 9.9, "liquidation", -100),
        final=900,
        stop_loss_percent=15,
        **LEVERED,
    ),
    case(
        "a stop nearer than the liquidation comes first",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 101  80  85 .
        """,
        ("long", 1, 100, 2, 95, "stop_loss", -50),
        final=950,
        stop_loss_percent=5,
        **LEVERED,
    ),
    case(
        "a short's nearer stop comes first",
        """
        100 101  99 100 s
        100 101  99 100 .
        100 120  99 115 .
        """,
        ("short", 1, 100, 2, 105, "stop_loss", -50),
        final=950,
        direction="short",
        stop_loss_percent=5,
        **LEVERED,
    ),
    case(
        "a carried position that this open has passed is liquidated before its order to close",
        """
        100 101  99 100 b
        100 101  99 100 s
         90  96  89  95 .
        """,
        ("long", 1, 100, 2, 90, "liquidation", -100),
        final=900,
        **LEVERED,
    ),
    case(
        "liquidated at the open, the opening half of a reversal still fills",
        """
        100 101  99 100 b
        100 101  99 100 s
         90  91  89  90 b
         81  82  80  81 .
        """,
        # equity 900: margin 90, 10 coins short at 90
        ("long", 1, 100, 2, 90, "liquidation", -100),
        ("short", 2, 90, 3, 81, "signal", 90),
        ("long", 3, 81, 3, 81, "open", 0),
        final=990,
        direction="both",
        **LEVERED,
    ),
    case(
        "an unlevered long cannot be liquidated",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 100 0.001 50 .
        """,
        ("long", 1, 100, 2, 50, "open", -500),
        final=500,
    ),
    case(
        "an unlevered short can",
        """
        100 101  99 100 s
        100 101  99 100 .
        100 199  99 150 .
        """,
        # (1000 + 1000) / (10 x 1.01)
        ("short", 1, 100, 2, 2000 / 10.1, "liquidation", -1000),
        final=0,
        direction="short",
    ),
    case(
        "the maintenance rate moves the price",
        """
        100 101  99 100 b
        100 101  94.8 95 .
        100 101  94.7 95 .
        """,
        # 900 / (10 x 0.95) = 94.7368...
        ("long", 1, 100, 2, 900 / 9.5, "liquidation", -100),
        final=900,
        mmr=0.05,
        **LEVERED,
    ),
    case(
        "tiers: the rate of this notional, its deduction included",
        """
        100 101  99 100 b
        100 101  93 95 .
        100 101  92.7 95 .
        """,
        # notional 1000: 5 % less 20 / 1000 = 3 %: 900 / 9.7 = 92.78...
        ("long", 1, 100, 2, 900 / 9.7, "liquidation", -100),
        final=900,
        tiers=(MaintenanceTier(500, 0.01), MaintenanceTier(2000, 0.05, 20), MaintenanceTier(9000, 0.1, 120)),
        **LEVERED,
    ),
    case(
        "a gap beyond the margin loses the margin, not more",
        """
        100 101  99 100 b
        100 101  99 100 .
         50  51  49  50 .
        """,
        ("long", 1, 100, 2, 50, "liquidation", -100),
        final=900,
        **LEVERED,
    ),
    case(
        "marks trigger the liquidation, not the traded low",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 101  85  95 .
        100 101  92  95 .
        """,
        ("long", 1, 100, 3, 900 / 9.9, "liquidation", -100),
        final=900,
        marks=marks_of("100 101 99 100\n100 101 99 100\n100 101 91 95\n100 101 90 95"),
        **LEVERED,
    ),
    case(
        "a mark that opens beyond liquidates at this bar's open",
        """
        100 101  99 100 b
        100 101  99 100 .
         95  96  94  95 .
        """,
        ("long", 1, 100, 2, 900 / 9.9, "liquidation", -100),
        final=900,
        marks=marks_of("100 101 99 100\n100 101 99 100\n90 95 90 95"),
        **LEVERED,
    ),
    case(
        "a bar without a mark goes by the traded price",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 101  90  95 .
        """,
        ("long", 1, 100, 2, 900 / 9.9, "liquidation", -100),
        final=900,
        marks=marks_of("100 101 99 100\n100 101 99 100"),
        **LEVERED,
    ),
    case(
        "a close of any kind returns nothing less than zero: an order far beyond the margin",
        """
        100 101  99 100 b
        100 101  99 100 s
         70  71  69  70 .
        """,
        # the mark held, so it is closed at 70: -300 on a margin of 100
        ("long", 1, 100, 2, 70, "signal", -100),
        final=900,
        marks=marks_of("100 101 99 100\n100 101 99 100\n95 96 94 95"),
        **LEVERED,
    ),
    case(
        "a close of any kind returns nothing less than zero: the exit fee takes no more than is left",
        """
        100 101  99 100 b
        100 101  99 100 s
         91  92  90.95  91 .
        """,
        # margin 100, fee 50 in; -90 leaves 10 for a fee of 45.5
        ("long", 1, 100, 2, 91, "signal", -90 - 50 - 10),
        final=850,
        fee_rate=0.05,
        **LEVERED,
    ),
]

FUNDING = [
    case(
        "funding due at the open settles on the position carried in, at this open, against its margin",
        """
        100 101  99 100 b
        100 101  99 100 .
        110 111 109 110 s
        120 121 119 120 .
        """,
        # 10 coins x 110 x 1 %
        ("long", 1, 100, 3, 120, "signal", 200 - 11),
        final=1189,
        funding={2: 0.01},
    ),
    case(
        "a short receives what a long pays",
        """
        100 101  99 100 s
        100 101  99 100 .
        110 111 109 110 b
        100 101  99 100 .
        """,
        ("short", 1, 100, 3, 100, "signal", 11),
        final=1011,
        direction="short",
        funding={2: 0.01},
    ),
    case(
        "a negative rate turns it round",
        """
        100 101  99 100 b
        100 101  99 100 .
        110 111 109 110 s
        100 101  99 100 .
        """,
        ("long", 1, 100, 3, 100, "signal", 11),
        final=1011,
        funding={2: -0.01},
    ),
    case(
        "funding due at the open does not touch what opens at it",
        """
        100 101  99 100 b
        100 101  99 100 s
        100 101  99 100 .
        """,
        ("long", 1, 100, 2, 100, "signal", 0),
        final=1000,
        funding={1: 0.01},
    ),
    case(
        "funding due at the open is owed by what closes at it",
        """
        100 101  99 100 b
        100 101  99 100 s
        100 101  99 100 .
        """,
        ("long", 1, 100, 2, 100, "signal", -10),
        final=990,
        funding={2: 0.01},
    ),
    case(
        "funding inside the bar settles on the position opened at its open, at that open",
        """
        100 101  99 100 b
        120 131 119 130 s
        120 121 119 120 .
        """,
        # 1000 of notional at 120
        ("long", 1, 120, 2, 120, "signal", -10),
        final=990,
        funding={1.5: 0.01},
    ),
    case(
        "a stamp that is late by milliseconds belongs to the full minute: the open",
        """
        100 101  99 100 b
        100 101  99 100 s
        100 101  99 100 .
        """,
        ("long", 1, 100, 2, 100, "signal", 0),
        final=1000,
        funding={1 + 59_999 / HOUR_MS: 0.01},
    ),
    case(
        "a stamp a minute late is inside the bar",
        """
        100 101  99 100 b
        100 101  99 100 s
        100 101  99 100 .
        """,
        ("long", 1, 100, 2, 100, "signal", -10),
        final=990,
        funding={1 + 60_000 / HOUR_MS: 0.01},
    ),
    case(
        "funding inside a bar settles before the stop inside it",
        """
        100 101  99 100 b
        100 101  94  95 .
         95  96  94  95 .
        """,
        ("long", 1, 100, 1, 95, "stop_loss", -60),
        final=940,
        stop_loss_percent=5,
        funding={1.9: 0.01},
    ),
    case(
        "never assume eight hours: every stamp settles once",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 101  99 100 s
        100 101  99 100 .
        100 101  99 100 .
        """,
        # 1.25, 1.5, 2.0 and 3.0 (at the open it leaves); 0.5 and 3.5 find no position
        ("long", 1, 100, 3, 100, "signal", -40),
        final=960,
        funding={0.5: 0.01, 1.25: 0.01, 1.5: 0.01, 2: 0.01, 3: 0.01, 3.5: 0.01},
    ),
    case(
        "funding in a gap settles at the open of the bar before it",
        """
        100 101  99 100 b
        100 101  99 100 .
        -
        -
        200 201 199 200 s
        200 201 199 200 .
        """,
        # 10 coins x 100 x 1 %, at hour 3
        ("long", 1, 100, 5, 200, "signal", 990),
        final=1990,
        funding={3: 0.01},
    ),
    case(
        "funding after the end of the last bar is nobody's",
        """
        100 101  99 100 b
        100 101  99 100 .
        """,
        ("long", 1, 100, 1, 100, "open", 0),
        final=1000,
        funding={2: 0.01, 30: 0.01},
    ),
    case(
        "funding paid lowers the margin, and so moves the liquidation price",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 101  92  95 .
         95  96  94  95 .
        """,
        # 20 paid at hour 2: (1000 - 80) / 9.9 = 92.92...
        ("long", 1, 100, 2, 920 / 9.9, "liquidation", -100),
        final=900,
        funding={2: 0.02},
        **LEVERED,
    ),
    case(
        "funding at the open may push a carried position beyond its liquidation price",
        """
        100 101  99 100 b
        100 101  99 100 s
         96  97  95  96 .
        """,
        # 96 paid: (1000 - 4) / 9.9 = 100.6: liquidated before its order to close
        ("long", 1, 100, 2, 96, "liquidation", -100),
        final=900,
        funding={2: 0.1},
        **LEVERED,
    ),
    case(
        "a position pays no more funding than its margin",
        """
        100 101  99 100 b
        100 101  99 100 .
        100 101  99 100 .
        """,
        ("long", 1, 100, 2, 100, "liquidation", -100),
        final=900,
        funding={2: 0.5},
        **LEVERED,
    ),
]

CASES = FILLS + MONEY + STOPS + TRAILING + LIQUIDATION + FUNDING


def runs() -> list[Any]:
    """Every case on both; the optimistic fill prices are the kernel's alone."""
    return [
        pytest.param(one, engine, id=f"{engine}: {one.name}")
        for one in CASES
        for engine in ENGINES
        if engine == "kernel" or "fill_price" not in one.options
    ]


@pytest.mark.parametrize(("one", "engine"), runs())
def test_table(one: Case, engine: str) -> None:
    outcome = ENGINES[engine](one.inputs())
    assert rows(outcome) == one.trades
    assert outcome.equity[-1] == pytest.approx(one.final, rel=1e-12, abs=1e-9)


def test_names_are_unique() -> None:
    assert len({one.name for one in CASES}) == len(CASES) >= 40
