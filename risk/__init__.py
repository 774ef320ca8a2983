"""The limits of an account: one class per limit, and the list that a model's settings make of them."""

from risk.build import RISK_DEFAULTS, active_limits, build_rules, describe, parse_risk

__all__ = ["RISK_DEFAULTS", "active_limits", "build_rules", "describe", "parse_risk"]
