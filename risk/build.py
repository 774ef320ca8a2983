"""From a model's settings to its list of limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain.errors import InvalidValue
from domain.ports import RiskRule
from risk.base import Limit
from risk.limits import (
    DefaultStopLoss,
    DefaultTakeProfit,
    MaxDailyLoss,
    MaxDailyTrades,
    MaxGrossExposure,
    MaxLeverage,
    MaxOpenPositions,
    MaxPositionSize,
    MinConfidence,
    PoolMembership,
    StopBeforeLiquidation,
)

# The contract's names, defaults and order; 0 switches one off.
RISK_DEFAULTS: dict[str, float] = {
    "max_position_size_percent": 20.0,
    "max_leverage": 20.0,
    "max_open_positions": 3.0,
    "max_gross_exposure_percent": 300.0,
    "min_confidence": 60.0,
    "max_daily_trades": 50.0,
    "max_daily_loss_percent": 10.0,
    "stop_loss_percent": 5.0,
    "take_profit_percent": 10.0,
}

# What each may be at most. A position of over 100 % of the equity cannot be paid for, a loss neither.
RISK_MAXIMA: dict[str, float] = {
    "max_position_size_percent": 100.0,
    "max_leverage": 1000.0,
    "max_open_positions": 1000.0,
    "max_gross_exposure_percent": 100_000.0,
    "min_confidence": 100.0,
    "max_daily_trades": 1_000_000.0,
    "max_daily_loss_percent": 100.0,
    "stop_loss_percent": 100.0,
    "take_profit_percent": 100_000.0,
}

WHOLE = frozenset({"max_open_positions", "max_daily_trades"})
SPEAKS_OF_CONFIDENCE = frozenset({"llm", "team"})


def parse_risk(risk: Mapping[str, Any], kind: str) -> dict[str, float]:
    """All limits of a model of `kind`: what is given, else the default (0 for kind hold).

    InvalidValue names the field (`risk.max_leverage`) for an unknown name or a value out of range.
    """
    if not isinstance(risk, Mapping):
        raise InvalidValue("risk is an object of limits", field="risk")
    for name in risk:
        if name not in RISK_DEFAULTS:
            raise InvalidValue(f"unknown limit '{name}'; use one of {', '.join(RISK_DEFAULTS)}", field=f"risk.{name}")
    defaults = dict.fromkeys(RISK_DEFAULTS, 0.0) if kind == "hold" else RISK_DEFAULTS
    return {name: _number(name, risk.get(name, default)) for name, default in defaults.items()}


def _number(name: str, value: Any) -> float:
    field, most = f"risk.{name}", RISK_MAXIMA[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidValue(f"{name} is a number; 0 switches it off", field=field)
    if not 0 <= value <= most:
        raise InvalidValue(f"{name} lies between 0 (off) and {most:g}, not {value:g}", field=field)
    if name in WHOLE and value != int(value):
        raise InvalidValue(f"{name} is a whole number", field=field)
    if name == "max_leverage" and 0 < value < 1:
        raise InvalidValue("max_leverage is at least 1, or 0 for no limit", field=field)
    return float(value)


def active_limits(risk: Mapping[str, Any], kind: str) -> dict[str, float]:
    """The limits that are switched on for a model of this kind, by name."""
    limits = {name: value for name, value in parse_risk(risk, kind).items() if value > 0}
    if kind not in SPEAKS_OF_CONFIDENCE:
        limits.pop("min_confidence", None)
    return limits


_CLASSES: dict[str, Callable[[float], Limit]] = {
    "max_position_size_percent": MaxPositionSize,
    "max_leverage": MaxLeverage,
    "max_open_positions": MaxOpenPositions,
    "max_gross_exposure_percent": MaxGrossExposure,
    "min_confidence": MinConfidence,
    "max_daily_trades": MaxDailyTrades,
    "max_daily_loss_percent": MaxDailyLoss,
    "stop_loss_percent": DefaultStopLoss,
    "take_profit_percent": DefaultTakeProfit,
}


def build_rules(
    risk: Mapping[str, Any], kind: str, maintenance_rates: Mapping[str, float] | None = None
) -> list[RiskRule]:
    """The rules in the order in which they are asked.

    Pool membership always comes first. The clamp that keeps the stop before liquidation goes with the
    leverage limits: it is there whenever any limit is switched on. `maintenance_rates`: fraction by coin
    where a venue names one, else 1 %.
    """
    limits = active_limits(risk, kind)
    rules: list[RiskRule] = [PoolMembership()]
    rates = tuple((maintenance_rates or {}).items())
    before_liquidation = StopBeforeLiquidation(limits.get("stop_loss_percent", 0.0), rates)
    for name, value in limits.items():
        if name not in ("max_position_size_percent", "max_leverage") and before_liquidation not in rules:
            rules.append(before_liquidation)
        rules.append(_CLASSES[name](value))
    if limits and before_liquidation not in rules:
        rules.append(before_liquidation)
    return rules


def describe(rules: Sequence[RiskRule]) -> tuple[str, ...]:
    """The limits as lines of text, for a prompt and for the page."""
    return tuple(rule.text() for rule in rules if isinstance(rule, Limit))
