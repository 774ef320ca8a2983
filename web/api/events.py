"""/api/events: what happened, newest first."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import Field

from runtime.services import services
from store.events import EventStore
from web.answers import render
from web.openapi import api_blueprint, documented
from web.parsing import query
from web.schemas import Answer, Id, Ms, Query

bp = api_blueprint("events")

EventType = Literal["price_alert", "position_change", "agent_action", "risk", "source", "system"]


class EventQuery(Query):
    type: EventType | None = None
    since: Ms | None = None
    limit: int = Field(100, ge=1, le=1000)


class EventRow(Answer):
    id: Id
    timestamp: Ms
    event_type: EventType
    symbol: str | None
    model_id: int | None
    data: dict[str, Any]


@bp.get("")
@documented(query=EventQuery, answer=list[EventRow])
def list_events() -> Response:
    """Alerts, position changes, decisions, risk and system events."""
    asked = query(EventQuery)
    return render(EventStore(services().database).load(asked.limit, asked.type, asked.since))
