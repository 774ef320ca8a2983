"""/strategies: the rule sets of this workspace, and the editor that builds them from menus."""

from __future__ import annotations

from flask import Blueprint, render_template

from strategies.ruleset import MAX_NAME
from strategies.store import MAX_DESCRIPTION

bp = Blueprint("strategies", __name__)


@bp.get("/strategies")
def strategies() -> str:
    return render_template("strategies.html", max_name=MAX_NAME, max_description=MAX_DESCRIPTION)
