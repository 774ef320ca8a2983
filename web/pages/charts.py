"""/charts: candles of any coin, with the trades of a model."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

from runtime.services import services

bp = Blueprint("charts", __name__)


def stored_series() -> list[dict[str, Any]]:
    """Places whose candles are stored, by coin: what the chart can show besides the workspace's market."""
    held = services()
    coins = {
        series.info.key: series.coin
        for series in held.lookup.tradable()
    }  # fmt: skip
    live = held.market.health()
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for info in held.candles.list():
        key = info.key
        if key.venue in live:
            continue  # a source of the workspace itself
        coin = coins.get(key) or held.catalogue.coin_for(key.venue, key.market, key.symbol) or key.symbol
        place = found.setdefault(
            (coin, key.venue, key.market),
            {"coin": coin, "venue": key.venue, "market": key.market, "intervals": [], "last": 0},
        )
        place["intervals"].append(key.interval)
        place["last"] = max(place["last"], info.last_ms)
    return list(found.values())


@bp.get("/charts")
def charts() -> str:
    return render_template("charts.html", page_data={"stored": stored_series()})
