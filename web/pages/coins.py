"""/coins: the catalogue, the user's own coins, and groups of them."""

from __future__ import annotations

from flask import Blueprint, render_template

bp = Blueprint("coins", __name__)


@bp.get("/coins")
def coins() -> str:
    return render_template("coins.html")
