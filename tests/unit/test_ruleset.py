"""Rule sets: defaults, refusals that name the field, and a schema that says the same as the validation."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from strategies.builtin import BUILTIN
from strategies.catalogue import BY_NAME, INDICATORS, PATTERNS
from strategies.ruleset import json_schema, parse_ruleset
from strategies.signals import compile_ruleset
from tests.rule_sets import bars_of, condition, group, rule_set

SCHEMA = json_schema()
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)


def one(indicator: Any, signal: Any, **params: Any) -> dict[str, Any]:
    """A rule set whose second buy condition is the one under test."""
    return rule_set(buy=[group(condition("RSI", "oversold"), condition(indicator, signal, **params))])


def with_condition(**fields: Any) -> dict[str, Any]:
    return rule_set(buy=[group({**condition("RSI", "oversold"), **fields})])


AT = "buy_groups.0.conditions.1"

# -- what is accepted ---------------------------------------------------------------------


def test_defaults_are_filled_in() -> None:
    parsed = parse_ruleset({"name": " trend ", "buy_groups": [{"conditions": [condition("MA", "golden_cross")]}]})
    assert parsed.to_dict() == {
        "name": "trend",
        "direction": "long",
        "buy_groups": [{"logic": "AND", "conditions": [condition("MA", "golden_cross", fast=20, slow=60)]}],
        "sell_groups": [],
    }


@pytest.mark.parametrize(
    ("indicator", "signal", "filled"),
    [
        ("EMA", "cross_above", {"period": 20}),
        ("MA", "bullish_alignment", {"periods": [5, 10, 20, 60]}),
        ("MACD", "golden_cross", {"fast": 12, "slow": 26, "signal": 9}),
        ("KDJ", "overbought", {"n": 9, "k": 3, "d": 3, "high": 80}),
        ("BOLL", "above", {"period": 20, "stddev": 2, "band": "middle"}),
        ("BOLL", "breakout_up", {"period": 20, "stddev": 2}),
        ("RSI", "oversold", {"period": 14, "low": 30}),
        ("RSI", "overbought", {"period": 14, "high": 70}),
        ("RSI", "cross_above", {"period": 14, "level": 50}),
        ("BBI", "above", {"periods": [3, 6, 12, 24]}),
        ("CCI", "oversold", {"period": 14, "low": -100}),
        ("ATR", "breakout_down", {"period": 14, "factor": 1}),
        ("VOLUME", "above", {"period": 20, "factor": 2}),
    ],
)
def test_the_defaults_of_the_contract(indicator: str, signal: str, filled: dict[str, Any]) -> None:
    parsed = parse_ruleset(one(indicator, signal))
    assert parsed.buy_groups[0].conditions[1].params == filled


def test_params_that_the_signal_does_not_read_are_kept() -> None:
    parsed = parse_ruleset(one("RSI", "oversold", high=75))
    assert parsed.buy_groups[0].conditions[1].params == {"period": 14, "low": 30, "high": 75}


def test_a_parsed_rule_set_parses_to_itself() -> None:
    for builtin in BUILTIN:
        assert parse_ruleset(builtin.ruleset.to_dict()) == builtin.ruleset
        assert parse_ruleset(json.loads(json.dumps(builtin.ruleset.to_dict()))) == builtin.ruleset


def every_signal() -> list[tuple[str, str]]:
    return [(spec.name, signal.name) for spec in INDICATORS for signal in spec.signals]


@pytest.mark.parametrize(("indicator", "signal"), every_signal())
def test_every_signal_of_the_catalogue_compiles_and_runs(indicator: str, signal: str) -> None:
    params = {"name": "CDLENGULFING"} if indicator == "PATTERN" else {}
    program = compile_ruleset(rule_set(buy=[group(condition(indicator, signal, **params))]))
    assert len(program.signals(bars_of(range(1, 200)))) == 199
    assert 1 <= program.warmup <= program.history


# -- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        ([], None, "object"),
        ({}, "name", "missing"),
        ({"name": ""}, "name", "name"),
        ({"name": "a\nb"}, "name", "printable"),
        ({"name": "x" * 101}, "name", "100"),
        ({"name": 5}, "name", "text"),
        ({"name": "x", "colour": 1}, "colour", "remove"),
        ({"name": "x", "direction": "up"}, "direction", "'long'"),
        ({"name": "x", "buy_groups": "RSI"}, "buy_groups", "list"),
        ({"name": "x", "buy_groups": [[]]}, "buy_groups.0", "object"),
        ({"name": "x", "sell_groups": [{"logic": "AND", "conditions": []}]}, "sell_groups.0.conditions", "at least"),
        ({"name": "x", "sell_groups": [{"logic": "AND"}]}, "sell_groups.0.conditions", "missing"),
        ({"name": "x", "buy_groups": [{"logic": "XOR", "conditions": []}]}, "buy_groups.0.logic", "'AND'"),
        ({"name": "x", "buy_groups": [{"conditions": [7]}]}, "buy_groups.0.conditions.0", "object"),
        ({"name": "x", "buy_groups": [{"conditions": [{}]}]}, "buy_groups.0.conditions.0.indicator_type", "missing"),
        (rule_set(buy=[group(condition("RSI", "oversold"))] * 21), "buy_groups", "at most 20"),
        (rule_set(buy=[group(*[condition("RSI", "oversold")] * 21)]), "buy_groups.0.conditions", "at most 20"),
        (one("SMA", "golden_cross"), f"{AT}.indicator_type", "MACD"),
        (one(None, "golden_cross"), f"{AT}.indicator_type", "text"),
        (one("RSI", "golden_cross"), f"{AT}.signal_type", "oversold"),
        (one("BBI", "golden_cross"), f"{AT}.signal_type", "cross_above"),
        (one("RSI", "oversold", fast=3), f"{AT}.params.fast", "period, low, high, level"),
        (one("RSI", "oversold", period="14"), f"{AT}.params.period", "whole number from 2 to 5000"),
        (one("RSI", "oversold", period=True), f"{AT}.params.period", "not true"),
        (one("RSI", "oversold", period=14.0), f"{AT}.params.period", "whole number"),
        (one("RSI", "oversold", period=None), f"{AT}.params.period", "not null"),
        (one("RSI", "oversold", period=0), f"{AT}.params.period", "from 2"),
        (one("RSI", "oversold", period=-5), f"{AT}.params.period", "from 2"),
        (one("RSI", "oversold", period=5001), f"{AT}.params.period", "to 5000"),
        (one("RSI", "oversold", period=10**400), f"{AT}.params.period", "to 5000"),
        (one("RSI", "oversold", low=float("nan")), f"{AT}.params.low", "number from 0 to 100"),
        (one("RSI", "oversold", low=float("inf")), f"{AT}.params.low", "number from 0 to 100"),
        (one("RSI", "oversold", low=False), f"{AT}.params.low", "not false"),
        (one("RSI", "oversold", low=101), f"{AT}.params.low", "to 100"),
        (one("RSI", "oversold", low=80, high=20), f"{AT}.params.low", "less than high"),
        (one("MA", "golden_cross", fast=60, slow=20), f"{AT}.params.fast", "shorter than slow"),
        (one("MA", "death_cross", fast=60), f"{AT}.params.fast", "shorter than slow"),
        (one("EMA", "golden_cross", slow=10), f"{AT}.params.slow", "shorter than slow"),
        (one("MACD", "above", fast=26, slow=26), f"{AT}.params.fast", "shorter than slow"),
        (one("MA", "bullish_alignment", periods=[5]), f"{AT}.params.periods", "2 to 10"),
        (one("MA", "bullish_alignment", periods=5), f"{AT}.params.periods", "list"),
        (one("MA", "bullish_alignment", periods=list(range(1, 12))), f"{AT}.params.periods", "2 to 10"),
        (one("MA", "bullish_alignment", periods=[5, 5]), f"{AT}.params.periods", "once"),
        (one("MA", "bullish_alignment", periods=[5, "x"]), f"{AT}.params.periods.1", "whole number"),
        (one("BOLL", "above", band="top"), f"{AT}.params.band", "upper, middle, lower"),
        (one("BOLL", "above", band=1), f"{AT}.params.band", "upper, middle, lower"),
        (one("BOLL", "above", stddev=0), f"{AT}.params.stddev", "0.01"),
        (one("PATTERN", "bullish"), f"{AT}.params.name", "missing"),
        (one("PATTERN", "bullish", name="CDLNOTHING"), f"{AT}.params.name", "schema"),
        (with_condition(note="x"), "buy_groups.0.conditions.0.note", "remove"),
        (with_condition(params=[14]), "buy_groups.0.conditions.0.params", "object"),
    ],
)
def test_refusals_name_the_field_and_say_what_to_do(data: Any, field: str | None, words: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        parse_ruleset(data)
    assert refusal.value.field == field
    assert words in str(refusal.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(data=JSON, at=st.integers(0, 5))
def test_any_json_is_parsed_or_refused(data: Any, at: int) -> None:
    places: list[Any] = [
        data,
        {"name": "x", "buy_groups": data},
        {"name": "x", "buy_groups": [{"conditions": data}]},
        {"name": "x", "buy_groups": [{"conditions": [data]}]},
        rule_set(buy=[group({**condition("MA", "golden_cross"), "params": data})]),
        one("BBI", "above", periods=data),
    ]
    with contextlib.suppress(InvalidValue):
        parsed = parse_ruleset(places[at])
        assert parse_ruleset(parsed.to_dict()) == parsed


# -- the schema ---------------------------------------------------------------------------


def test_the_schema_lists_everything() -> None:
    names = [reference["$ref"].rsplit("/", 1)[1] for reference in SCHEMA["$defs"]["condition"]["oneOf"]]
    branches = [SCHEMA["$defs"][name] for name in names]
    assert [branch["properties"]["indicator_type"]["const"] for branch in branches] == list(BY_NAME)
    for branch, spec in zip(branches, INDICATORS, strict=True):
        assert branch["title"]
        assert branch["description"]
        signals = branch["properties"]["signal_type"]["oneOf"]
        assert [signal["const"] for signal in signals] == [signal.name for signal in spec.signals]
        params = branch["properties"]["params"]["properties"]
        assert list(params) == [param.name for param in spec.params]
        for signal in signals:
            assert signal["title"]
            assert signal["description"]
            assert set(signal["x-params"]) <= set(params)
        for param in params.values():
            assert param["title"]
            assert param["description"]


def test_the_schema_gives_defaults_and_bounds() -> None:
    fast = SCHEMA["$defs"]["MA"]["properties"]["params"]["properties"]["fast"]
    assert (fast["type"], fast["default"], fast["minimum"], fast["maximum"]) == ("integer", 20, 1, 5000)
    band = SCHEMA["$defs"]["BOLL"]["properties"]["params"]["properties"]["band"]
    assert (band["enum"], band["default"]) == (["upper", "middle", "lower"], "middle")
    assert SCHEMA["$defs"]["PATTERN"]["properties"]["params"]["properties"]["name"]["enum"] == list(PATTERNS)
    assert len(PATTERNS) == 61


def test_the_schema_is_translated_through_the_function_given() -> None:
    upper = json_schema(str.upper)
    assert upper["$defs"]["MA"]["properties"]["signal_type"]["oneOf"][0]["title"] == "GOLDEN CROSS"


@pytest.mark.parametrize("builtin", BUILTIN, ids=lambda builtin: builtin.name)
def test_the_schema_accepts_what_the_validation_accepts(builtin: Any) -> None:
    VALIDATOR.validate(builtin.ruleset.to_dict())


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"name": "x", "direction": "up"},
        one("SMA", "golden_cross"),
        one("RSI", "golden_cross"),
        one("RSI", "oversold", period="14"),
        one("RSI", "oversold", period=1),
        one("RSI", "oversold", fast=3),
        one("PATTERN", "bullish"),
        rule_set(buy=[group()]),
    ],
)
def test_the_schema_refuses_what_the_validation_refuses(data: Any) -> None:
    assert not VALIDATOR.is_valid(data)
    with pytest.raises(InvalidValue):
        parse_ruleset(data)


# -- the built-in strategies --------------------------------------------------------------


def test_six_built_in_strategies_with_names_and_reasons() -> None:
    assert len(BUILTIN) == 6
    assert len({builtin.name for builtin in BUILTIN}) == 6
    for builtin in BUILTIN:
        assert len(builtin.description) > 80
        assert builtin.ruleset.buy_groups
        assert builtin.ruleset.sell_groups
