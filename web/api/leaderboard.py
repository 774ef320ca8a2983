"""/api/leaderboard: all models by return."""

from __future__ import annotations

from flask import Response

from runtime.services import services
from web.answers import render
from web.openapi import api_blueprint, documented
from web.schemas import Answer, Id

bp = api_blueprint("leaderboard")


class Standing(Answer):
    """Percentages in percent. `sharpe` is of daily returns, null before there are two."""

    model_id: Id
    name: str
    kind: str
    total_value: float
    return_percentage: float
    max_drawdown: float
    sharpe: float | None
    trades: int
    fees: float
    llm_cost: float


@bp.get("")
@documented(answer=list[Standing])
def list_standings() -> Response:
    """Best return first."""
    return render(services().models.leaderboard())
