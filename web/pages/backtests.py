"""/backtest, /backtest/ID and /backtest/compare: ask history, read the answer, lay answers side by side."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from domain.times import INTERVALS_MS
from runtime.services import services

bp = Blueprint("backtests", __name__)


@bp.get("/backtest")
def backtests() -> str:
    rate = services().settings.default_trade_fee_rate
    return render_template(
        "backtests.html",
        intervals=list(INTERVALS_MS),
        fee_percent=round(100 * rate, 10),
        page_data={"runs": services().backtests.list_runs()},
    )


@bp.get("/backtest/<int:run_id>")
def backtest(run_id: int) -> str:
    run = {**services().backtests.head(run_id), "report": None}
    return render_template("backtest.html", run=run, page_data={"run": run})


@bp.get("/backtest/compare")
def compare() -> str:
    ids = [int(part) for part in request.args.get("ids", "").split(",") if part.isdigit()][:6]
    return render_template("backtest_compare.html", page_data={"ids": ids})
