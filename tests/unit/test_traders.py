"""What the rules trader and the hold trader decide, view by view."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from domain.errors import BadData
from domain.market import Bars
from domain.trading import Account, Action, Decision, MarketView, Position, Side
from strategies.builtin import BUILTIN
from strategies.signals import compile_ruleset
from tests.rule_sets import condition, group, random_bars, rule_set
from traders.hold import HoldTrader
from traders.rules import ComputedSignals, PrecomputedSignals, RulesTrader

RULES = rule_set(
    buy=[group(condition("MA", "golden_cross", fast=5, slow=20))],
    sell=[group(condition("MA", "death_cross", fast=5, slow=20))],
)
PROGRAM = compile_ruleset(RULES)
BARS = random_bars(600, seed=4)
SIGNALS = PROGRAM.signals(BARS)


def first(signal: int) -> Bars:
    """Bars that end on a bar with this signal."""
    return BARS[: int(np.flatnonzero(SIGNALS[100:] == signal)[0]) + 101]


BUYING, SELLING, SILENT = first(1), first(-1), first(0)


def view_of(bars: dict[str, Bars], held: dict[str, Side] | None = None, **given: Any) -> MarketView:
    positions = {coin: Position(coin, side, 1.0, 100.0, 100.0, opened_ms=0) for coin, side in (held or {}).items()}
    values: dict[str, Any] = {
        "now_ms": 10**12,
        "interval": "1h",
        "coins": tuple(bars),
        "bars": bars,
        "account": Account(1000.0, 1000.0, positions),
        "fresh": frozenset(bars),
        "leverage": 3.0,
    }
    return MarketView(**{**values, **given})


def decide(bars: Bars, side: Side | None, direction: str) -> Decision:
    trader = RulesTrader("test", PROGRAM, direction)
    [decision] = trader.decide(view_of({"BTC": bars}, {"BTC": side} if side else {}))
    return decision


# -- rules --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "held", "on_buy", "on_sell"),
    [
        ("long", None, Action.LONG, Action.HOLD),
        ("long", Side.LONG, Action.HOLD, Action.CLOSE),
        ("long", Side.SHORT, Action.LONG, Action.HOLD),
        ("short", None, Action.HOLD, Action.SHORT),
        ("short", Side.SHORT, Action.CLOSE, Action.HOLD),
        ("short", Side.LONG, Action.HOLD, Action.SHORT),
        ("both", None, Action.LONG, Action.SHORT),
        ("both", Side.LONG, Action.HOLD, Action.SHORT),
        ("both", Side.SHORT, Action.LONG, Action.HOLD),
    ],
)
def test_signals_become_actions_as_the_direction_allows(
    direction: str, held: Side | None, on_buy: Action, on_sell: Action
) -> None:
    assert decide(BUYING, held, direction).action is on_buy
    assert decide(SELLING, held, direction).action is on_sell
    assert decide(SILENT, held, direction).action is Action.HOLD


def test_the_direction_is_the_rule_sets_own_unless_said() -> None:
    short = compile_ruleset({**RULES, "direction": "short"})
    [decision] = RulesTrader("test", short).decide(view_of({"BTC": SELLING}))
    assert decision.action is Action.SHORT


def test_only_fresh_coins_are_decided_on_in_the_order_of_the_pool() -> None:
    bars = {"ETH": BUYING, "BTC": SELLING, "SOL": BUYING}
    view = view_of(bars, fresh=frozenset({"SOL", "ETH"}))
    decisions = RulesTrader("test", PROGRAM).decide(view)
    assert [(d.coin, d.action) for d in decisions] == [("ETH", Action.LONG), ("SOL", Action.LONG)]


def test_size_is_the_share_of_the_pools_weights_and_leverage_the_views() -> None:
    bars = {"BTC": BUYING, "ETH": BUYING, "SOL": BUYING}
    decisions = RulesTrader("test", PROGRAM).decide(view_of(bars, weights={"BTC": 1.0, "ETH": 3.0, "SOL": 0.0}))
    assert [(d.action, d.position_size_percent, d.leverage) for d in decisions] == [
        (Action.LONG, 25.0, 3.0),
        (Action.LONG, 75.0, 3.0),
        (Action.HOLD, None, None),
    ]
    assert "no weight" in decisions[2].reasoning
    equal = RulesTrader("test", PROGRAM).decide(view_of(bars))
    assert [d.position_size_percent for d in equal] == pytest.approx([100 / 3] * 3)


def test_a_coin_without_weight_is_closed_instead_of_reversed() -> None:
    view = view_of({"BTC": SELLING, "ETH": SILENT}, {"BTC": Side.LONG}, weights={"BTC": 0.0, "ETH": 1.0})
    assert RulesTrader("test", PROGRAM, "both").decide(view)[0].action is Action.CLOSE


def test_the_reasoning_names_what_fired_with_its_numbers() -> None:
    said = decide(BUYING, None, "long").reasoning
    assert said.startswith("Buy: MA 5 crossed above MA 20: ")
    assert " over " in said
    assert "already long" in decide(BUYING, Side.LONG, "long").reasoning
    assert "trades long only" in decide(SELLING, None, "long").reasoning
    assert decide(SILENT, None, "long").reasoning == "No signal on this bar."


def test_too_few_bars_say_so() -> None:
    assert decide(BARS[:7], None, "long").reasoning == "Warming up: 7 of 21 bars."
    assert decide(BARS[:0], None, "long").reasoning == "Warming up: 0 of 21 bars."


def test_the_same_view_gives_the_same_decisions() -> None:
    trader = RulesTrader("test", PROGRAM)
    view = view_of({"BTC": BUYING})
    assert trader.decide(view) == trader.decide(view)


@pytest.mark.parametrize("builtin", BUILTIN, ids=lambda builtin: builtin.name)
def test_precomputed_signals_equal_computed_ones(builtin: Any) -> None:
    program = compile_ruleset(builtin.ruleset)
    history = random_bars(program.history + 300, seed=8)
    computed, known = ComputedSignals(program), PrecomputedSignals(program, {"BTC": history})
    from_start = [computed("BTC", history[:end]) for end in range(program.history + 1)]
    assert from_start == [known("BTC", history[:end]) for end in range(program.history + 1)]
    tails = [computed("BTC", history[:end]) for end in range(program.history, len(history))]
    assert tails == [known("BTC", history[:end]) for end in range(program.history, len(history))]


def test_precomputed_signals_know_their_own_bars_only() -> None:
    known = PrecomputedSignals(PROGRAM, {"BTC": BARS})
    with pytest.raises(BadData, match="ETH"):
        known("ETH", BARS)
    late = Bars(BARS.time + 1, *BARS.columns()[1:])
    with pytest.raises(BadData, match="BTC"):
        known("BTC", late)


def test_the_trader_asks_for_bars_enough_to_forget_where_they_begin() -> None:
    program = compile_ruleset(rule_set(buy=[group(condition("RSI", "oversold"))]))
    trader = RulesTrader("test", program)
    assert trader.name == "test"
    assert trader.warmup == program.history > program.warmup == 15


# -- hold ---------------------------------------------------------------------------------


def test_hold_buys_each_coin_by_weight_once() -> None:
    view = view_of({"BTC": BARS, "ETH": BARS}, weights={"BTC": 1.0, "ETH": 1.0})
    assert [(d.coin, d.action, d.position_size_percent) for d in HoldTrader().decide(view)] == [
        ("BTC", Action.LONG, 50.0),
        ("ETH", Action.LONG, 50.0),
    ]
    held = view_of({"BTC": BARS, "ETH": BARS}, {"BTC": Side.LONG}, weights={"BTC": 1.0, "ETH": 1.0})
    assert [d.action for d in HoldTrader().decide(held)] == [Action.HOLD, Action.LONG]


def test_hold_waits_for_a_coins_first_closed_bar() -> None:
    view = view_of({"BTC": BARS, "ETH": BARS[:0]}, fresh=frozenset({"BTC"}))
    assert [d.coin for d in HoldTrader().decide(view)] == ["BTC"]


def test_hold_does_not_buy_twice_what_was_closed() -> None:
    view = view_of({"BTC": BARS}, extras={"bought": frozenset({"BTC"})})
    [decision] = HoldTrader().decide(view)
    assert decision.action is Action.HOLD
    assert "not bought twice" in decision.reasoning


def test_hold_leaves_a_coin_without_weight_alone() -> None:
    view = view_of({"BTC": BARS, "ETH": BARS}, weights={"BTC": 0.0, "ETH": 2.0})
    assert [d.action for d in HoldTrader().decide(view)] == [Action.HOLD, Action.LONG]
    nothing = view_of({"BTC": BARS}, weights={"BTC": 0.0})
    assert HoldTrader().decide(nothing)[0].action is Action.HOLD


def test_hold_never_sells() -> None:
    view = view_of({"BTC": SELLING}, {"BTC": Side.LONG})
    assert HoldTrader("mine").decide(view)[0].action is Action.HOLD
    assert (HoldTrader("mine").name, HoldTrader().warmup) == ("mine", 1)
