"""/models and /models/ID: who trades, and how each one is doing."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

from risk import RISK_DEFAULTS
from runtime.model_values import DEFAULTS
from runtime.services import services
from web.overview import overview

bp = Blueprint("models", __name__)


def form_defaults() -> dict[str, Any]:
    """What a new model's form starts with."""
    fields = ("initial_capital", "interval_seconds", "interval", "leverage", "slippage_bps", "market")
    rate = services().settings.default_trade_fee_rate
    return {**{name: DEFAULTS[name] for name in fields}, "fee_percent": round(100 * rate, 10), "risk": RISK_DEFAULTS}


@bp.get("/models")
def models() -> str:
    return render_template("models.html", defaults=form_defaults(), page_data={"overview": overview(0)})


@bp.get("/models/<int:model_id>")
def model(model_id: int) -> str:
    held = services().models
    found = held.get(model_id)
    portfolio = held.portfolio(model_id)
    return render_template(
        "model.html",
        model=found,
        portfolio=portfolio,
        defaults=form_defaults(),
        page_data={"model": found, "portfolio": portfolio},
    )
