"""A newcomer's first day, in one go: a coin of one's own, real candles, a backtest that an outside engine confirms."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.conftest import ROOT, Server, server_environment
from tests.oracle.test_parity import CAPITAL, load_bars, sma_signals, theirs

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import StartServer

Open = Callable[[Server, str], "Page"]
Call = Callable[..., Any]

FIRST, LAST = "2020-01-01", "2024-12-31"
START_MS, END_MS = 1_577_836_800_000, 1_735_689_600_000
# The engine's share of a warm run over five years of hourly candles.
ENGINE_S = 0.020


def flask(server: Server, *words: str) -> str:
    """A flask command beside the running server."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", *words],
        cwd=ROOT, env=server_environment(server.data_dir, server.port) | {"PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def route_report(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    asked = urllib.request.Request(  # noqa: S310 - our own loopback URL
        f"{server.url}/api/backtest/run",
        data=json.dumps(request).encode(),
        headers={"Content-Type": "application/json", "Prefer": "wait=60"},
    )
    with urllib.request.urlopen(asked, timeout=90) as answer:  # noqa: S310 - as above
        assert answer.status == 200
        return dict(json.loads(answer.read()))


@pytest.fixture
def real_candles(shared_data: Path) -> Path:
    path = shared_data / "candles" / "binance" / "spot" / "BTCUSDT" / "1h.parquet"
    if not path.is_file():
        pytest.skip(f"no real candles: {path} is not there")
    return path


def test_first_day(
    real_candles: Path, start_server: StartServer, tmp_path: Path, open_page: Open, page: Page, api: Call
) -> None:
    from playwright.sync_api import expect

    server = start_server(SIMULATED_SPEED="60")

    # Real candles by the command line, while the server runs.
    said = flask(server, "candles", "import", str(real_candles))
    assert "65590 stored" in said
    listed = json.loads(flask(server, "candles", "list", "--json"))
    assert [(one["symbol"], one["rows"], one["gaps"]) for one in listed] == [("BTCUSDT", 65_590, 27)]

    # A backtest through the page, on five years of them.
    open_page(server, "/backtest")
    expect(page.locator("#form-panel")).to_have_attribute("data-state", "ready")
    page.select_option("#f-trader", label="SMA cross 20/60")
    page.fill("#f-start_date", FIRST)
    page.fill("#f-end_date", LAST)
    page.fill("#f-initial_capital", str(int(CAPITAL)))
    page.get_by_role("button", name="Run backtest").click()
    page.wait_for_url(re.compile(r"/backtest/\d+$"))
    expect(page.locator("#report")).to_be_visible(timeout=180_000)
    through_page = api(server, "GET", f"/api/backtests/{page.url.rsplit('/', 1)[1]}")["report"]

    # The same through the route, warm.
    strategy = next(one for one in api(server, "GET", "/api/strategies") if one["name"] == "SMA cross 20/60")
    request = {
        "strategy_id": strategy["id"], "coins": ["BTC"], "start_date": FIRST, "end_date": LAST, "interval": "1h",
        "venue": "binance", "market": "spot", "initial_capital": CAPITAL,
    }  # fmt: skip
    reports = [route_report(server, request) for _ in range(5)]
    for name in ("summary", "trades", "account_values", "data"):
        assert reports[0][name] == through_page[name], name
    assert min(report["engine"]["seconds"] for report in reports) < ENGINE_S
    shown = page.locator('[data-figure="final_value"]').inner_text()
    assert shown == f"{through_page['summary']['final_value']:,.2f}"

    # And by an engine that is not ours, from the same file.
    bars = load_bars(real_candles)
    signals = sma_signals(bars.close)
    span = slice(*np.searchsorted(bars.time, [START_MS, END_MS]))
    other = theirs("backtesting", Path(sys.executable), (bars[span], signals[span]), tmp_path)
    summary, closed = through_page["summary"], [one for one in through_page["trades"] if one["exit_reason"] != "open"]
    assert other["equity"][-1] == pytest.approx(summary["final_value"], rel=1e-6)
    assert len(closed) == summary["total_trades"]
    assert [one["entry_time"] for one in closed] == other["entry_time"][: len(closed)]
    assert [one["exit_time"] for one in closed] == other["exit_time"][: len(closed)]
