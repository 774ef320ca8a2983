"""What may be said of a model: checked once, on entry. Every refusal names its field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from database import to_money
from domain.errors import InvalidValue, NotFound
from domain.market import parse_market
from domain.times import interval_ms
from risk import parse_risk

if TYPE_CHECKING:
    from strategies.store import StrategyStore

KINDS = ("rules", "hold")
LATER_KINDS = ("llm", "team", "grid")
STATUSES = ("running", "paused")
MARKETS = ("perp", "spot")

DEFAULTS: dict[str, Any] = {
    "status": "running",
    "market": "perp",
    "initial_capital": 10_000.0,
    "interval_seconds": 60,
    "interval": "1h",
    "leverage": 1.0,
    "slippage_bps": 0.0,
    "strategy_id": None,
    "provider_id": None,
    "model_name": None,
}
# (least, most) of each number; capital and weights are exact or sums, so they stay where floats are.
RANGES: dict[str, tuple[float, float]] = {
    "initial_capital": (1.0, 1e12),
    "interval_seconds": (1, 7 * 86_400),
    "leverage": (1.0, 1000.0),
    "trade_fee_rate": (0.0, 0.0999),
    "slippage_bps": (0.0, 1000.0),
    "weight": (0.0, 1e9),
}
MOST_NAME = 120


def new_values(values: Mapping[str, Any], fee_rate: float, strategies: StrategyStore) -> dict[str, Any]:
    """Columns of a new model, defaults filled in. `values` may hold `coins`, which is not a column."""
    if "name" not in values:
        raise InvalidValue("a model has a name", field="name")
    if "kind" not in values:
        raise InvalidValue(f"a model has a kind: {' or '.join(KINDS)}", field="kind")
    kind = check_kind(values["kind"])
    merged = {**DEFAULTS, "trade_fee_rate": fee_rate, **values, "kind": kind}
    columns = {name: _check(name, value) for name, value in merged.items() if name not in ("coins", "risk", "kind")}
    columns["kind"] = kind
    columns["risk"] = parse_risk(values.get("risk") or {}, kind)
    check_decider(kind, columns["strategy_id"], columns["provider_id"], columns["model_name"], strategies)
    return columns


def changed_values(values: Mapping[str, Any], old: Mapping[str, Any], strategies: StrategyStore) -> dict[str, Any]:
    """Columns that a PUT sets. `old` holds the model as it is; limits that `risk` does not name stay."""
    if "kind" in values and check_kind(values["kind"]) != old["kind"]:
        raise InvalidValue("the kind of a model is fixed: make another model", field="kind")
    columns = {name: _check(name, value) for name, value in values.items() if name not in ("kind", "risk")}
    if "risk" in values:
        given = values["risk"] or {}
        parse_risk(given, old["kind"])
        columns["risk"] = parse_risk({**old["risk"], **given}, old["kind"])
    if {"strategy_id", "provider_id", "model_name"} & set(columns):
        now = {**old, **columns}
        check_decider(old["kind"], now["strategy_id"], now["provider_id"], now["model_name"], strategies)
    return columns


def check_kind(kind: Any) -> str:
    if kind in LATER_KINDS:
        message = f"models of kind {kind} come with a later version; use {' or '.join(KINDS)}"
        raise InvalidValue(message, field="kind")
    if kind not in KINDS:
        raise InvalidValue(f"unknown kind; use {' or '.join(KINDS)}", field="kind")
    return str(kind)


def check_decider(
    kind: str, strategy_id: int | None, provider_id: int | None, model_name: str | None, strategies: StrategyStore
) -> None:
    """A model of rules follows a strategy, one that holds follows nothing."""
    for name, value in (("provider_id", provider_id), ("model_name", model_name)):
        if value is not None:
            raise InvalidValue(f"a model of kind {kind} asks no language model: leave {name} out", field=name)
    if kind == "hold":
        if strategy_id is not None:
            raise InvalidValue("a model that holds follows no strategy: leave strategy_id out", field="strategy_id")
        return
    if strategy_id is None:
        raise InvalidValue("a model of kind rules follows a strategy: name one", field="strategy_id")
    try:
        strategies.load_ruleset(strategy_id)
    except NotFound as error:
        raise InvalidValue(f"there is no strategy {strategy_id}", field="strategy_id") from error


def check_number(name: str, value: Any, field: str | None = None) -> float:
    """InvalidValue unless `value` is a finite number within the range of `name`."""
    least, most = RANGES[name]
    field = field or name
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidValue(f"{name} is a number", field=field)
    if not least <= value <= most:
        raise InvalidValue(f"{name} lies between {least:g} and {most:g}, not {value:g}", field=field)
    return value


def _check(name: str, value: Any) -> Any:
    if name == "name":
        return _name(value)
    if name in RANGES:
        return _number(name, value)
    if name == "interval":
        interval_ms(value if isinstance(value, str) else "")
        return value
    if name == "market":
        return _choice(name, parse_market(str(value)), MARKETS)
    if name == "status":
        return _choice(name, value, STATUSES)
    if name in ("strategy_id", "provider_id"):
        return _optional_id(name, value)
    if name == "model_name":
        return None if value is None else str(value)
    raise InvalidValue(f"a model has no field '{name}'", field=name)


def _name(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= MOST_NAME:
        raise InvalidValue(f"a name has 1 to {MOST_NAME} characters", field="name")
    return text


def _number(name: str, value: Any) -> Any:
    number = check_number(name, value)
    if name == "initial_capital":
        return to_money(number)
    if name == "interval_seconds":
        if number != int(number):
            raise InvalidValue("interval_seconds is a whole number", field=name)
        return int(number)
    return float(number)


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise InvalidValue(f"{name} is {' or '.join(choices)}", field=name)
    return value


def _optional_id(name: str, value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise InvalidValue(f"{name} is the id of one, or null", field=name)
