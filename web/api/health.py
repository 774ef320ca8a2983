"""/api/health: what a monitor asks. The only route that stays open where a login is needed."""

from __future__ import annotations

from typing import Literal

from flask import Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from domain.errors import Retryable
from runtime.services import services
from web.answers import render
from web.openapi import api_blueprint, documented
from web.schemas import Answer, Ms
from web.shell import SchedulerState, scheduler_state

bp = api_blueprint("health")


class SourceState(Answer):
    state: str
    last_ok: Ms | None
    error: str | None


class Health(Answer):
    """`status` is degraded where the database or every source of prices is down, or the scheduler cannot start."""

    status: Literal["ok", "degraded"]
    market: str
    sources: dict[str, SourceState]
    database: Literal["ok", "down"]
    scheduler: SchedulerState


def _database_state() -> Literal["ok", "down"]:
    try:
        with services().database.read() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return "down"
    return "ok"


def _sources() -> dict[str, SourceState]:
    try:
        found = services().market.health()
    except Retryable as error:
        return {services().market.workspace_market: SourceState(state="down", last_ok=None, error=str(error))}
    return {name: SourceState(state=each.state, last_ok=each.last_ok, error=each.error) for name, each in found.items()}


@bp.get("")
@documented(answer=Health, is_public=True)
def health() -> Response:
    """Whether the server, its database and its sources of prices work."""
    database = _database_state()
    sources = _sources()
    scheduler = scheduler_state()
    has_prices = any(each.state != "down" for each in sources.values())
    is_fine = database == "ok" and has_prices and scheduler != "stopped"
    answer = Health(
        status="ok" if is_fine else "degraded",
        market=services().market.workspace_market,
        sources=sources,
        database=database,
        scheduler=scheduler,
    )
    return render(answer)
