"""/api/shell: what the frame of a page shows."""

from __future__ import annotations

from flask import Response

from web.answers import render
from web.openapi import api_blueprint, documented
from web.schemas import Answer, Ms
from web.shell import shell_facts

bp = api_blueprint("shell")


class ShellFacts(Answer):
    """`speed`: market seconds per second. `scheduler`: as in /api/health."""

    market: str
    market_label: str
    simulated: bool
    speed: float
    now_ms: Ms
    scheduler: str
    default_coin: str


@bp.get("")
@documented(answer=ShellFacts)
def get_shell() -> Response:
    """Market, its clock and the scheduler, for the status bar."""
    return render(shell_facts())
