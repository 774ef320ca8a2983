"""/api/backtest/run and /api/backtests: start, watch, read, cancel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, current_app, request
from pydantic import Field

from runtime.services import services
from simulation.request import BacktestRequest
from web.answers import render, render_nothing
from web.openapi import documented
from web.parsing import body
from web.schemas import Answer

bp = Blueprint("api_backtests", __name__, url_prefix="/api")

# A program may hold a thread of the server for this long at most.
MAX_WAIT_S = 600.0


class Started(Answer):
    """A run that was queued."""

    id: int
    status: str
    url: str


class Run(Answer):
    """A run in the list: its summary, without the rest of its report."""

    id: int
    name: str
    status: str = Field(description="queued, running, done, failed, cancelled or interrupted")
    progress: float = Field(ge=0, le=1)
    error: str | None
    created: int
    started: int | None
    finished: int | None
    request: dict[str, Any]
    settings: dict[str, Any] | None
    summary: dict[str, Any] | None
    url: str


class CoinCandles(Answer):
    """A stored series that can be backtested."""

    coin: str
    name: str
    venue: str
    market: str
    symbol: str
    interval: str
    rows: int
    first: int
    last: int
    gaps: int


class Report(Answer):
    """The contract's report."""

    summary: dict[str, Any]
    trades: list[dict[str, Any]]
    account_values: list[dict[str, Any]]
    data: list[dict[str, Any]]
    settings: dict[str, Any]
    engine: dict[str, Any]


class RunWithReport(Run):
    """One run with its whole report, null before it is done."""

    report: Report | None


@bp.post("/backtest/run")
@documented(
    body=BacktestRequest,
    answer=Started,
    status=202,
    also={200: Report},
    headers={"Prefer": "wait=N: answer with the bare report when the run ends within N seconds"},
)
def run_backtest() -> Response:
    asked = body(BacktestRequest)  # strict in itself, shared with the command line
    started = services().backtests.start(asked.model_dump(exclude_unset=True))
    return _wait_or_point_to(started)


@bp.post("/backtests/<int:run_id>/restart")
@documented(answer=Started, status=202)
def restart_backtest(run_id: int) -> Response:
    return _wait_or_point_to(services().backtests.restart(run_id))


@bp.get("/backtest/coins")
@documented(answer=list[CoinCandles])
def list_coins_with_candles() -> Response:
    """Every stored series of traded prices with the coin it is of: what a form may offer."""
    return render(
        [
            {
                "coin": series.coin,
                "name": series.name,
                "venue": series.info.key.venue,
                "market": series.info.key.market,
                "symbol": series.info.key.symbol,
                "interval": series.info.key.interval,
                "rows": series.info.rows,
                "first": series.info.first_ms,
                "last": series.info.last_ms,
                "gaps": series.info.gaps,
            }
            for series in services().lookup.tradable()
        ]
    )


@bp.get("/backtests")
@documented(answer=list[Run])
def list_backtests() -> Response:
    return render(services().backtests.list_runs())


@bp.get("/backtests/<int:run_id>")
@documented(answer=RunWithReport)
def show_backtest(run_id: int) -> Response:
    return render(services().backtests.get(run_id))


@bp.delete("/backtests/<int:run_id>")
@documented(answer=None, status=204)
def delete_backtest(run_id: int) -> Response:
    services().backtests.cancel_or_remove(run_id)
    return render_nothing()


@bp.get("/backtests/<int:run_id>/trades.csv")
@documented(answer=None, produces="text/csv")
def trades_csv(run_id: int) -> Response:
    return _csv(services().backtests.trades_csv(run_id), f"backtest-{run_id}-trades.csv")


@bp.get("/backtests/<int:run_id>/equity.csv")
@documented(answer=None, produces="text/csv")
def equity_csv(run_id: int) -> Response:
    return _csv(services().backtests.equity_csv(run_id), f"backtest-{run_id}-equity.csv")


def _wait_or_point_to(started: dict[str, Any]) -> Response:
    wait_s = _preferred_wait_s()
    if wait_s and services().backtests.wait(started["id"], wait_s):
        run = services().backtests.get(started["id"])
        if run["report"] is not None:
            return render(run["report"], headers={"Location": started["url"], "Preference-Applied": f"wait={wait_s:g}"})
        started = {**started, "status": run["status"]}
    return render(started, 202, headers={"Location": started["url"]})


def _preferred_wait_s() -> float:
    # RFC 7240: Prefer: wait=10 (preferences are separated by commas)
    found = re.search(
        r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6}(?:\.\d+)?)", request.headers.get("Prefer", ""), re.IGNORECASE
    )
    return min(float(found[1]), MAX_WAIT_S) if found else 0.0


def _csv(lines: Iterator[str], name: str) -> Response:
    answer = current_app.response_class(lines, mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
