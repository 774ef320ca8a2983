"""Backtests in a real Chromium: the form offers what is stored, the report says what the route says."""

from __future__ import annotations

import json
import re
import sqlite3
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.backtests import CROSS, walk
from tests.fakes.pages import assert_fits, import_files, parquet_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import Server, StartServer

Open = Callable[["Server", str], "Page"]
Call = Callable[..., Any]

ROWS = 3_000  # of 2020-01-01 and the 125 days after
REQUEST = {
    "strategy_id": 1, "coins": ["BTC"], "start_date": "2020-02-01", "end_date": "2020-04-01", "interval": "1h",
    "venue": "binance", "market": "spot",
}  # fmt: skip


@pytest.fixture(scope="module")
def stored(live_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Random walks of BTC and ETH, and of a coin that was listed later."""
    folder = tmp_path_factory.mktemp("candles")
    files = {
        "binance/spot/BTCUSDT/1h.parquet": parquet_of(folder / "btc.parquet", walk(1, ROWS, slice(500, 510))),
        "binance/spot/ETHUSDT/1h.parquet": parquet_of(folder / "eth.parquet", walk(2, ROWS)),
        "binance/spot/SOLUSDT/1h.parquet": parquet_of(folder / "sol.parquet", walk(3, ROWS)[2_500:]),
    }
    import_files(live_server, files)
    return live_server


def run(server: Server, **changes: Any) -> dict[str, Any]:
    """The report of a run, and its id."""
    asked = urllib.request.Request(  # noqa: S310 - our own loopback URL
        f"{server.url}/api/backtest/run",
        data=json.dumps({name: value for name, value in (REQUEST | changes).items() if value is not None}).encode(),
        headers={"Content-Type": "application/json", "Prefer": "wait=60"},
    )
    with urllib.request.urlopen(asked, timeout=90) as answer:  # noqa: S310
        assert answer.status == 200, answer.read()
        return {"id": int(answer.headers["Location"].rsplit("/", 1)[1]), **json.loads(answer.read())}


@pytest.fixture
def no_list(stored: Server, api: Call) -> None:
    """A list of runs without any."""
    for one in api(stored, "GET", "/api/backtests"):
        api(stored, "DELETE", f"/api/backtests/{one['id']}")


def change_row(server: Server, run_id: int, **values: Any) -> None:
    """What another moment, or another process, would have left in the database."""
    with closing(sqlite3.connect(server.data_dir / "curlew.db", timeout=10)) as database, database:
        for name, value in values.items():
            database.execute(f"UPDATE backtests SET {name} = ? WHERE id = ?", (value, run_id))  # noqa: S608


def figure(page: Page, key: str) -> str:
    return page.locator(f'[data-figure="{key}"]').inner_text()


def shown(value: float) -> str:
    return f"{value:,.2f}"


def test_run_through_the_page_is_the_run_of_the_route(stored: Server, open_page: Open, page: Page, api: Call) -> None:
    from playwright.sync_api import expect

    open_page(stored, "/backtest")
    expect(page.locator("#form-panel")).to_have_attribute("data-state", "ready")
    page.select_option("#f-trader", label="SMA cross 20/60")
    page.fill("#f-start_date", "2020-02-01")
    page.fill("#f-end_date", "2020-04-01")
    page.fill("#f-leverage", "2")
    page.fill("#f-stop_loss_percent", "3")
    page.get_by_role("button", name="Run backtest").click()
    page.wait_for_url(re.compile(r"/backtest/\d+$"))
    expect(page.locator("#report")).to_be_visible(timeout=60_000)

    found = api(stored, "GET", f"/api/backtests/{page.url.rsplit('/', 1)[1]}")["report"]
    report = run(stored, leverage=2.0, stop_loss_percent=3.0)
    assert found["summary"] == report["summary"]
    assert found["trades"] == report["trades"]
    summary = report["summary"]
    assert summary["total_trades"] > 5
    assert figure(page, "final_value") == shown(summary["final_value"])
    assert figure(page, "return_percentage").lstrip("+") == shown(summary["return_percentage"]) + "%"
    assert figure(page, "max_drawdown") == shown(summary["max_drawdown"]) + "%"
    assert figure(page, "total_trades") == str(summary["total_trades"])
    assert figure(page, "total_fees") == shown(summary["total_fees"])
    expect(page.locator("#trades .note")).to_have_text(f"{len(report['trades']):,} trades")
    expect(page.locator("#data-table tbody")).to_contain_text(report["data"][0]["sha256"][:12])
    expect(page.locator("#notes")).to_contain_text("spot candles are shorted or levered")


def test_real_candles_through_the_page_and_through_the_route(
    shared_data: Path, start_server: StartServer, open_page: Open, page: Page, api: Call
) -> None:
    """The average cross over five years of Binance's hours."""
    from playwright.sync_api import expect

    server = start_server()
    folder = shared_data / "candles"
    names = [f"binance/spot/{symbol}/1h.parquet" for symbol in ("BTCUSDT", "ETHUSDT")]
    import_files(server, {name: folder / name for name in names})
    open_page(server, "/backtest?strategy=1")
    expect(page.locator("#coins .chip")).to_have_text(re.compile("BTC"))
    for year in ("2024", "2020"):
        page.locator("#presets").get_by_role("button", name=year).click()
    expect(page.locator("#f-start_date")).to_have_value("2020-01-01")
    page.fill("#f-end_date", "2024-12-31")
    page.get_by_role("button", name="Run backtest").click()
    page.wait_for_url(re.compile(r"/backtest/\d+$"))
    expect(page.locator("#report")).to_be_visible(timeout=60_000)
    found = api(server, "GET", f"/api/backtests/{page.url.rsplit('/', 1)[1]}")["report"]
    report = run(server, start_date="2020-01-01", end_date="2024-12-31")
    assert {key: value for key, value in found.items() if key != "engine"} == {
        key: value for key, value in report.items() if key not in {"engine", "id"}
    }
    assert found["data"][0]["rows"] > 43_000
    assert figure(page, "final_value") == shown(report["summary"]["final_value"])
    expect(page.locator("#candles")).to_have_attribute("data-state", "ready", timeout=10_000)


def test_rules_of_an_earlier_run_are_run_again(stored: Server, open_page: Open, page: Page, api: Call) -> None:
    from playwright.sync_api import expect

    report = run(stored, strategy_id=None, strategy=CROSS)
    open_page(stored, f"/backtest?from={report['id']}")
    expect(page.locator("#f-trader option:checked")).to_have_text(f"cross (rules of run {report['id']})")
    page.get_by_role("button", name="Run backtest").click()
    page.wait_for_url(re.compile(r"/backtest/\d+$"))
    expect(page.locator("#report")).to_be_visible(timeout=30_000)
    expect(page.locator("#rule-words")).to_contain_text("the 5-bar simple average crosses above the 20-bar one")
    found = api(stored, "GET", f"/api/backtests/{page.url.rsplit('/', 1)[1]}")["report"]
    assert found["summary"] == report["summary"]


def test_form_offers_coins_with_candles_in_the_span(stored: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    open_page(stored, "/backtest")
    expect(page.locator("#form-panel")).to_have_attribute("data-state", "ready")
    page.get_by_role("button", name="Everything").click()
    expect(page.locator("#f-start_date")).to_have_value("2020-01-01")
    search = page.get_by_role("combobox", name="Coins")
    search.fill("s")
    options = page.locator(".picker-list [role=option]")
    expect(options.filter(has_text="Solana")).to_have_count(1)
    page.keyboard.press("Escape")
    page.fill("#f-end_date", "2020-02-01")
    page.locator("#f-end_date").dispatch_event("change")
    search.fill("s")
    expect(options.filter(has_text="Solana")).to_have_count(0)
    expect(page.locator("#coins-words")).to_contain_text("2 coins have candles in this span; 1 more")


def test_what_the_route_refuses_is_said_at_its_field(
    stored: Server, open_page: Open, page: Page, console_errors: list[str]
) -> None:
    from playwright.sync_api import expect

    open_page(stored, "/backtest")
    expect(page.locator("#form-panel")).to_have_attribute("data-state", "ready")
    page.fill("#f-start_date", "2020-03-01")
    page.fill("#f-end_date", "2020-02-01")
    page.get_by_role("button", name="Run backtest").click()
    field = page.locator("#f-end_date")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(page.locator(".invalid-feedback:visible")).to_contain_text("before start_date")
    console_errors[:] = [text for text in console_errors if "422" not in text]  # the browser's note of the refusal


def test_optimistic_fills_are_flagged_before_and_after(stored: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    report = run(stored, fill_price="close")
    open_page(stored, f"/backtest?from={report['id']}")
    expect(page.locator("#form-words")).to_contain_text(f"run {report['id']}")
    expect(page.locator("#f-fill_price")).to_have_value("close")
    expect(page.locator("#f-start_date")).to_have_value("2020-02-01")
    expect(page.locator("#optimistic-note")).to_be_visible()
    page.select_option("#f-fill_price", "next_open")
    expect(page.locator("#optimistic-note")).to_be_hidden()
    open_page(stored, f"/backtest/{report['id']}")
    expect(page.locator("#notes .is-warn")).to_contain_text("Optimistic fills")


def test_trades_filter_and_lead_to_their_candles(stored: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    report = run(stored, strategy_id=2, coins=["BTC", "ETH"])
    open_page(stored, f"/backtest/{report['id']}")
    rows = page.locator("#trades-table tbody tr")
    expect(rows.first).to_be_visible(timeout=20_000)
    page.select_option("#filter-coin", "ETH")
    page.select_option("#filter-side", "short")
    wanted = [trade for trade in report["trades"] if trade["coin"] == "ETH" and trade["side"] == "short"]
    assert len(wanted) > 3
    expect(rows).to_have_count(min(len(wanted), 100))
    page.locator("#trades-table th button", has_text="P&L").click()
    best = max(wanted, key=lambda trade: trade["pnl"])
    rows.first.get_by_role("button").click()
    expect(page.locator("#trade-words")).to_contain_text("ETH")
    expect(page.locator("#trade-words")).to_contain_text(f"{best['pnl']:,.2f}")
    expect(page.locator("#candle-coin")).to_have_value("ETH")
    expect(rows.first).to_have_class(re.compile("is-selected"))
    expect(page.locator("#candles")).to_have_attribute("data-state", "ready")


def test_a_run_that_goes_on_shows_its_progress_and_ends_by_itself(stored: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    report = run(stored)
    change_row(stored, report["id"], status="running", progress=0.4, report=None)
    open_page(stored, f"/backtest/{report['id']}")
    expect(page.locator("#progress-line")).to_have_attribute("aria-valuenow", "40")
    expect(page.get_by_role("button", name="Cancel run")).to_be_visible()
    expect(page.locator("#report")).to_be_hidden()
    kept = {name: report[name] for name in ("summary", "account_values", "buy_and_hold", "data", "settings", "engine")}
    change_row(stored, report["id"], status="done", progress=1.0, report=json.dumps(kept))
    expect(page.locator("#report")).to_be_visible(timeout=5_000)
    expect(page.locator("#progress")).to_be_hidden()


def test_a_run_that_was_cut_off_says_so_and_starts_again(stored: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    report = run(stored)
    change_row(stored, report["id"], status="interrupted", report=None, error="The server stopped during this run.")
    open_page(stored, f"/backtest/{report['id']}")
    expect(page.locator("#run-status")).to_contain_text("Cut off")
    page.get_by_role("button", name="Start again").click()
    page.wait_for_url(lambda url: url.rsplit("/", 1)[1] not in {"backtest", str(report["id"])})
    expect(page.locator("#report")).to_be_visible(timeout=30_000)
    assert figure(page, "final_value") == shown(report["summary"]["final_value"])


def test_two_runs_side_by_side(stored: Server, no_list: None, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    first, second = run(stored), run(stored, leverage=3.0, end_date="2020-03-15")
    open_page(stored, "/backtest")
    compare = page.locator("#compare")
    expect(compare).to_be_disabled()
    for box in page.locator("#runs-table input[type=checkbox]").all():
        box.check()
    expect(compare).to_have_text("Compare 2 runs")
    compare.click()
    page.wait_for_url("**/backtest/compare?ids=*")
    settings = page.locator("#compare-settings-table tbody tr")
    expect(settings.filter(has_text="Leverage")).to_contain_text("3×")
    expect(settings.filter(has_text="Capital")).to_have_count(0)
    page.locator("#only-different").uncheck()
    expect(settings.filter(has_text="Capital")).to_have_count(1)
    finals = page.locator("#compare-figures-table tbody tr").filter(has_text="Final value").locator("td")
    expect(finals.nth(1)).to_contain_text(shown(first["summary"]["final_value"]))
    expect(finals.nth(2)).to_contain_text(shown(second["summary"]["final_value"]))
    expect(page.locator("#compare-chart canvas")).to_have_attribute("aria-label", re.compile("Equity"))


def test_deleting_a_run_asks_once(stored: Server, no_list: None, open_page: Open, page: Page, api: Call) -> None:
    from playwright.sync_api import expect

    report = run(stored)
    open_page(stored, "/backtest")
    row = page.locator("#runs-table tbody tr")
    row.get_by_role("button", name="Delete").click()
    page.keyboard.press("Escape")
    assert len(api(stored, "GET", "/api/backtests")) == 1
    row.get_by_role("button", name="Delete").click()
    page.locator("dialog").get_by_role("button", name="Delete run").click()
    expect(page.locator("#runs")).to_have_attribute("data-state", "empty")
    assert all(one["id"] != report["id"] for one in api(stored, "GET", "/api/backtests"))


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit(width: int, stored: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    page.set_viewport_size({"width": width, "height": 844})
    first, second = run(stored)["id"], run(stored, coins=["BTC", "ETH"], strategy_id=2)["id"]
    for path in ("/backtest", f"/backtest/{second}", f"/backtest/compare?ids={first},{second}"):
        open_page(stored, path)
        expect(page.locator(".panel[data-state=loading]:visible")).to_have_count(0, timeout=20_000)
        assert not page.locator(".panel[data-state=error]").count(), path
        assert_fits(page)
