"""/api/overview: the dashboard in one reading."""

from __future__ import annotations

from typing import Any

from flask import Response
from pydantic import Field

from web.answers import render
from web.openapi import api_blueprint, documented
from web.overview import overview
from web.parsing import query
from web.schemas import Answer, Ms, Query

bp = api_blueprint("overview")


class OverviewQuery(Query):
    equity: int = Field(0, ge=0, le=5000, description="Points of each model's equity curve; 0 leaves the curves out")


class Overview(Answer):
    """Totals of all models, their accounts, positions, latest trades and decisions, prices of their coins."""

    now_ms: Ms
    simulated: bool
    price_source: str | None
    price_age_ms: int | None
    totals: dict[str, Any]
    models: list[dict[str, Any]]
    positions: list[dict[str, Any]]
    trades: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    coins: list[dict[str, Any]]


@bp.get("")
@documented(query=OverviewQuery, answer=Overview)
def get_overview() -> Response:
    """Everything that the dashboard shows."""
    return render(overview(query(OverviewQuery).equity))
