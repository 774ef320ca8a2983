"""/: the state of everything at a glance."""

from __future__ import annotations

from flask import Blueprint, render_template

from web.overview import overview

bp = Blueprint("dashboard", __name__)


@bp.get("/")
def dashboard() -> str:
    return render_template("dashboard.html", page_data={"overview": overview()})
