"""Compiled signals against a plain reading of the contract, and the law that the future changes nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.market import Bars
from strategies.builtin import BUILTIN
from strategies.catalogue import BY_NAME, INDICATORS
from strategies.indicators import bbi, divergence, kdj
from strategies.ruleset import parse_ruleset
from strategies.signals import IndicatorCache, compile_ruleset, warm_up
from tests.rule_sets import bars_of, condition, group, random_bars, rule_set

# -- a plain reading of the contract ------------------------------------------------------


def gold(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.zeros(len(a), dtype=bool)
    out[1:] = (a[1:] > b[1:]) & (a[:-1] <= b[:-1])
    return out


def death(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return gold(b, a)


AGAINST = {
    "cross_above": gold, "cross_below": death, "above": np.greater, "below": np.less,
    "golden_cross": gold, "death_cross": death,
}  # fmt: skip


def shifted(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[np.nan], values[:-1]])


def plain(each: Any, bars: Bars) -> np.ndarray:
    """Where one condition holds, by TA-Lib's functions and the contract's words."""
    kind, signal, p = each.indicator_type, each.signal_type, each.params
    close, high, low, volume = bars.close, bars.high, bars.low, bars.volume
    flat = np.ones(len(close))
    if kind in ("MA", "EMA"):
        average = talib.SMA if kind == "MA" else talib.EMA
        if "cross" in signal and "fast" in p:
            return AGAINST[signal](average(close, p["fast"]), average(close, p["slow"]))
        if signal in AGAINST:
            return AGAINST[signal](close, average(close, p["period"]))
        lines = [average(close, period) for period in sorted(p["periods"])]
        if signal == "bearish_alignment":
            lines = lines[::-1]
        return np.all([a > b for a, b in pairwise(lines)], axis=0)
    if kind == "MACD":
        line, smooth, _ = talib.MACD(close, p["fast"], p["slow"], p["signal"])
        if signal.endswith("divergence"):
            return divergence(high, low, line) == (1 if signal.startswith("bullish") else -1)
        return AGAINST[signal](line, smooth if signal in ("golden_cross", "death_cross") else 0 * flat)
    if kind == "BOLL":
        bands = dict(zip(("upper", "middle", "lower"), talib.BBANDS(close, p["period"], p["stddev"], p["stddev"])))  # noqa: B905
        if signal == "breakout_up":
            return gold(close, bands["upper"])
        if signal == "breakout_down":
            return death(close, bands["lower"])
        return AGAINST[signal](close, bands[p["band"]])
    if kind == "BBI":
        return AGAINST[signal](close, bbi(close, tuple(p["periods"])))
    if kind == "ATR":
        reach = p["factor"] * shifted(talib.ATR(high, low, close, p["period"]))
        if signal == "breakout_up":
            return close > shifted(close) + reach
        return close < shifted(close) - reach
    if kind == "VOLUME":
        return volume > p["factor"] * shifted(talib.SMA(volume, p["period"]))
    if kind == "PATTERN":
        found = getattr(talib, p["name"])(bars.open, high, low, close)
        return found > 0 if signal == "bullish" else found < 0
    if kind == "KDJ":
        k, d, _ = kdj(high, low, close, p["n"], p["k"], p["d"])
        value, other = k, d
    else:
        value = talib.RSI(close, p["period"]) if kind == "RSI" else talib.CCI(high, low, close, p["period"])
        if signal.endswith("divergence"):
            return divergence(high, low, value) == (1 if signal.startswith("bullish") else -1)
        other = p.get("level", 0) * flat
    if signal == "overbought":
        return value >= p["high"]
    if signal == "oversold":
        return value <= p["low"]
    return AGAINST[signal](value, other)


def plain_signals(data: Any, bars: Bars) -> np.ndarray:
    rules = parse_ruleset(data)

    def side(groups: Any) -> np.ndarray:
        held = np.zeros(len(bars), dtype=bool)
        for each in groups:
            rows = [plain(test, bars) for test in each.conditions]
            held |= np.all(rows, axis=0) if each.logic == "AND" else np.any(rows, axis=0)
        return held

    return side(rules.buy_groups).astype(np.int8) - side(rules.sell_groups).astype(np.int8)


# -- rule sets made at random -------------------------------------------------------------

SMALL: dict[str, dict[str, Any]] = {
    "MA": {"fast": st.integers(1, 10), "slow": st.integers(11, 40), "period": st.integers(1, 40),
           "periods": st.lists(st.integers(1, 40), min_size=2, max_size=5, unique=True)},
    "MACD": {"fast": st.integers(2, 10), "slow": st.integers(11, 30), "signal": st.integers(1, 12)},
    "KDJ": {"n": st.integers(1, 12), "k": st.integers(1, 5), "d": st.integers(1, 5),
            "low": st.floats(5, 45), "high": st.floats(55, 95)},
    "BOLL": {"period": st.integers(2, 300), "stddev": st.floats(0.5, 3),
             "band": st.sampled_from(["upper", "middle", "lower"])},
    "RSI": {"period": st.integers(2, 30), "low": st.floats(20, 45), "high": st.floats(55, 80),
            "level": st.floats(30, 70)},
    "BBI": {"periods": st.lists(st.integers(1, 30), min_size=2, max_size=4, unique=True)},
    "CCI": {"period": st.integers(2, 30), "low": st.floats(-150, -20), "high": st.floats(20, 150),
            "level": st.floats(-50, 50)},
    "ATR": {"period": st.integers(1, 20), "factor": st.floats(0.1, 2)},
    "VOLUME": {"period": st.integers(1, 20), "factor": st.floats(0.2, 3)},
    "PATTERN": {"name": st.sampled_from(["CDLENGULFING", "CDLDOJI", "CDLHARAMI", "CDLBELTHOLD"])},
}  # fmt: skip
SMALL["EMA"] = SMALL["MA"]


def conditions(*kinds: str) -> st.SearchStrategy[dict[str, Any]]:
    # Names, not specifications: hypothesis prints what it draws from.
    pairs = [
        f"{spec.name} {signal.name}"
        for spec in INDICATORS
        for signal in spec.signals
        if not kinds or spec.name in kinds
    ]

    def build(pair: str) -> st.SearchStrategy[dict[str, Any]]:
        kind, name = pair.split()
        signal = BY_NAME[kind].signal(name)
        assert signal is not None
        params = st.fixed_dictionaries({param: SMALL[kind][param] for param in signal.params})
        return params.map(lambda chosen: condition(kind, name, **chosen))

    return st.sampled_from(pairs).flatmap(build)


def rule_sets(*kinds: str) -> st.SearchStrategy[dict[str, Any]]:
    groups = st.builds(
        lambda tests, logic: group(*tests, logic=logic),
        st.lists(conditions(*kinds), min_size=1, max_size=3),
        st.sampled_from(["AND", "OR"]),
    )
    side = st.lists(groups, max_size=3)
    return st.builds(lambda buy, sell: rule_set(buy=buy, sell=sell), side, side)


@given(data=rule_sets(), seed=st.integers(0, 1000), count=st.sampled_from([0, 1, 30, 600, 2048, 2049, 4500]))
def test_compiled_signals_equal_a_plain_reading(data: dict[str, Any], seed: int, count: int) -> None:
    bars = random_bars(count, seed=seed)
    expected = plain_signals(data, bars)
    np.testing.assert_array_equal(compile_ruleset(data).signals(bars), expected)


@pytest.mark.parametrize("pair", [(spec.name, signal.name) for spec in INDICATORS for signal in spec.signals])
def test_every_signal_equals_a_plain_reading_and_happens(pair: tuple[str, str]) -> None:
    params = {"name": "CDLENGULFING"} if pair[0] == "PATTERN" else {}
    bars = random_bars(6000, seed=3)
    data = rule_set(buy=[group(condition(*pair, **params))])
    signals = compile_ruleset(data).signals(bars)
    np.testing.assert_array_equal(signals, plain_signals(data, bars))
    assert 0 < signals.sum() < len(bars)


@given(seed=st.integers(0, 1000))
def test_averages_that_touch_on_a_coarse_tick_cross_as_in_talib(seed: int) -> None:
    """Cheap coins move in few ticks, so that averages are often equal; there the last bit decides."""
    bars = random_bars(3000, seed=seed, start=0.07, tick=0.0001)
    data = rule_set(buy=[group(condition("MA", "golden_cross"))], sell=[group(condition("MA", "death_cross"))])
    np.testing.assert_array_equal(compile_ruleset(data).signals(bars), plain_signals(data, bars))


# -- crosses, bar by bar ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        ([1, 1, 2], [0, 0, 1]),  # at it before, above it now
        ([2, 1, 2], [0, 0, 1]),  # below it before
        ([1, 2, 3], [0, 0, 0]),  # above it already
        ([2, 1, 1], [0, 0, 0]),  # up to it is not above it
        ([1, 1, 1], [0, 0, 0]),
        ([1, 1, 0], [0, 0, -1]),
        ([1, 2, 1], [0, 0, -1]),
        ([2, 1, 0], [0, 0, 0]),
        ([1, 2, 2], [0, 0, 0]),
        ([1, 1, 2, 1, 2, 2, 2, 3], [0, 0, 1, -1, 1, 0, 0, 1]),
    ],
)
def test_a_cross_is_at_or_on_the_other_side_before_and_beyond_now(closes: list[int], expected: list[int]) -> None:
    """Averages over one and two bars: the first is above the second exactly where the close has risen."""
    lines = {"fast": 1, "slow": 2}
    program = compile_ruleset(
        rule_set(
            buy=[group(condition("MA", "golden_cross", **lines))], sell=[group(condition("MA", "death_cross", **lines))]
        )
    )
    assert program.signals(bars_of(closes)).tolist() == expected


def test_a_cross_needs_all_four_values() -> None:
    """On the first bar where both averages exist there is no bar before to cross from."""
    rising = bars_of(range(1, 100))
    signals = compile_ruleset(rule_set(buy=[group(condition("MA", "golden_cross", fast=2, slow=5))])).signals(rising)
    assert not signals.any()


def test_an_extreme_includes_its_level() -> None:
    bars = random_bars(300)
    value = float(talib.RSI(bars.close, 14)[200])
    at = compile_ruleset(rule_set(buy=[group(condition("RSI", "oversold", low=value))])).signals(bars)
    assert at[200] == 1
    under = compile_ruleset(rule_set(buy=[group(condition("RSI", "oversold", low=np.nextafter(value, 0)))]))
    assert under.signals(bars)[200] == 0


def test_buy_and_sell_on_one_bar_are_neither() -> None:
    both = [group(condition("RSI", "above", level=0))]
    assert not compile_ruleset(rule_set(buy=both, sell=both)).signals(random_bars(200)).any()


def test_a_side_without_groups_never_signals() -> None:
    always = [group(condition("RSI", "above", level=0))]
    bars = random_bars(200)
    assert compile_ruleset(rule_set(buy=always)).signals(bars).min() == 0
    assert compile_ruleset(rule_set(sell=always)).signals(bars).max() == 0
    assert not compile_ruleset(rule_set()).signals(bars).any()
    assert compile_ruleset(rule_set()).warmup == 0


def test_groups_are_joined_by_or_and_conditions_by_their_logic() -> None:
    bars = random_bars(500)
    low, high = condition("RSI", "below", level=45), condition("RSI", "above", level=55)
    assert not compile_ruleset(rule_set(buy=[group(low, high)])).signals(bars).any()
    either = compile_ruleset(rule_set(buy=[group(low, high, logic="OR")])).signals(bars)
    apart = compile_ruleset(rule_set(buy=[group(low), group(high)])).signals(bars)
    np.testing.assert_array_equal(either, apart)
    assert either.any()


# -- laws ---------------------------------------------------------------------------------


@given(data=rule_sets(), seed=st.integers(0, 1000), count=st.sampled_from([300, 2500]), part=st.floats(0, 1))
def test_signals_of_a_prefix_are_the_prefix_of_the_signals(
    data: dict[str, Any], seed: int, count: int, part: float
) -> None:
    bars, program = random_bars(count, seed=seed), compile_ruleset(data)
    cut = int(part * count)
    np.testing.assert_array_equal(program.signals(bars[:cut]), program.signals(bars)[:cut])


@given(data=rule_sets(), seed=st.integers(0, 1000), part=st.floats(0, 1), factor=st.floats(0.2, 5))
def test_changing_a_bar_changes_no_signal_before_it(
    data: dict[str, Any], seed: int, part: float, factor: float
) -> None:
    bars, program = random_bars(400, seed=seed), compile_ruleset(data)
    at = int(part * 399)
    columns = [column.copy() for column in bars.columns()]
    for column in columns[1:]:
        column[at:] *= factor
    np.testing.assert_array_equal(program.signals(Bars(*columns))[:at], program.signals(bars)[:at])


@given(data=rule_sets(), seed=st.integers(0, 1000))
def test_no_signal_of_a_single_condition_comes_before_the_warmup(data: dict[str, Any], seed: int) -> None:
    bars = random_bars(400, seed=seed)
    for side in ("buy_groups", "sell_groups"):
        for each in data[side]:
            for test in each["conditions"]:
                program = compile_ruleset(rule_set(buy=[group(test)]))
                assert not program.signals(bars)[: program.warmup - 1].any()


@given(data=rule_sets(), seed=st.integers(0, 1000))
def test_a_cache_changes_nothing(data: dict[str, Any], seed: int) -> None:
    bars, program = random_bars(2500, seed=seed), compile_ruleset(data)
    cache = IndicatorCache(bars)
    fresh = program.signals(bars)
    np.testing.assert_array_equal(program.signals(bars, cache), fresh)
    np.testing.assert_array_equal(program.signals(bars, cache), fresh)


def test_a_cache_computes_each_indicator_once_and_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    from strategies.indicators import REGISTRY, Indicator

    computed: list[Any] = []
    real = Indicator.lines

    def counting(self: Indicator, bars: Bars, params: Any) -> Any:
        computed.append((self.name, params))
        return real(self, bars, params)

    monkeypatch.setattr(Indicator, "lines", counting)
    bars = random_bars(500)
    cache = IndicatorCache(bars)
    for slow in range(30, 60):
        data = rule_set(buy=[group(condition("MA", "golden_cross", fast=5, slow=slow))])
        np.testing.assert_array_equal(compile_ruleset(data).signals(bars, cache), plain_signals(data, bars))
    assert sorted(computed) == [("sma", (period,)) for period in [5, *range(30, 60)]]
    assert "sma" in REGISTRY


def test_a_cache_of_other_bars_is_refused() -> None:
    program = compile_ruleset(BUILTIN[0].ruleset)
    with pytest.raises(InvalidValue, match="other bars"):
        program.signals(random_bars(100), IndicatorCache(random_bars(100)))


def test_read_only_bars_and_leading_nans() -> None:
    program = compile_ruleset(BUILTIN[0].ruleset)
    bars = random_bars(500)
    for column in bars.columns():
        column.flags.writeable = False
    expected = program.signals(bars)
    padded = Bars(np.arange(510), *[np.concatenate([np.full(10, np.nan), c]) for c in bars.columns()[1:]])
    np.testing.assert_array_equal(program.signals(padded)[10:], expected)


@pytest.mark.parametrize("builtin", BUILTIN, ids=lambda builtin: builtin.name)
def test_built_in_strategies_trade_both_ways(builtin: Any) -> None:
    signals = compile_ruleset(builtin.ruleset).signals(random_bars(20_000, seed=5))
    assert (signals == 1).sum() > 10
    assert (signals == -1).sum() > 10


def test_the_history_that_a_program_asks_for_is_enough() -> None:
    bars = random_bars(6000, seed=9)
    for builtin in BUILTIN:
        program = compile_ruleset(builtin.ruleset)
        whole = program.signals(bars)
        for end in range(5800, 6000):
            assert program.signals(bars[end - program.history : end])[-1] == whole[end - 1]


def test_warm_up_loads_every_kernel() -> None:
    warm_up()
    from strategies import kernels

    assert all(entry.signatures for entry in (kernels.run, kernels.kdj, kernels.divergence))


# -- words --------------------------------------------------------------------------------


def test_the_explanation_names_what_holds_with_its_numbers() -> None:
    bars = random_bars(3000, start=64_000)
    program = compile_ruleset(BUILTIN[0].ruleset)
    at = int(np.flatnonzero(program.signals(bars) == 1)[3])
    a, b = talib.SMA(bars.close, 20)[at], talib.SMA(bars.close, 60)[at]
    said = program.explain(bars[: at + 1])
    assert said.startswith("Buy: MA 20 crossed above MA 60: ")
    left, right = said.removeprefix("Buy: MA 20 crossed above MA 60: ").split(" over ")
    assert float(left.replace(",", "")) == pytest.approx(a, rel=1e-6)
    assert float(right.replace(",", "")) == pytest.approx(b, rel=1e-6)
    assert "," in left


def test_the_explanation_is_empty_where_nothing_holds() -> None:
    program = compile_ruleset(BUILTIN[0].ruleset)
    assert program.explain(bars_of([5.0] * 200)) == ""
    assert program.explain(Bars.empty()) == ""


@given(data=rule_sets(), seed=st.integers(0, 1000))
def test_something_is_said_exactly_where_a_side_holds(data: dict[str, Any], seed: int) -> None:
    bars = random_bars(300, seed=seed)
    for side, word in (("buy_groups", "Buy: "), ("sell_groups", "Sell: ")):
        alone = {"name": "x", side: data[side]}
        program = compile_ruleset(alone)
        assert program.explain(bars).startswith(word) == bool(program.signals(bars)[-1])


@given(
    data=rule_sets("RSI", "BOLL", "ATR", "VOLUME", "KDJ", "CCI", "BBI", "PATTERN", "MA", "EMA", "MACD"),
    seed=st.integers(0, 50),
)
def test_no_explanation_shows_a_nan(data: dict[str, Any], seed: int) -> None:
    assert "nan" not in compile_ruleset(data).explain(random_bars(300, seed=seed))
