"""What moves by itself: trades, prices, the last bar; and what a page does when its server dies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import Server, StartServer

Open = Callable[["Server", str], "Page"]


def test_a_trade_arrives_on_the_dashboard_without_a_reload(
    fast_server: Server, open_page: Open, page: Page, api: Any
) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/")
    page.evaluate("window.stayed = true")
    model = api(
        fast_server, "POST", "/api/models",
        {"name": "Late comer", "kind": "hold", "coins": ["LTC"], "interval": "1m", "interval_seconds": 60},
    )  # fmt: skip
    expect(page.locator("#trades-table tbody tr", has_text="Late comer")).to_contain_text("LTC", timeout=15_000)
    expect(page.locator("#positions-table tbody tr", has_text="Late comer")).to_contain_text("LTC", timeout=10_000)
    expect(page.locator("#leaderboard-table tbody tr", has_text="Late comer")).to_be_visible()
    assert page.evaluate("window.stayed") is True
    api(fast_server, "DELETE", f"/api/models/{model['id']}")
    expect(page.locator("#leaderboard-table tbody tr", has_text="Late comer")).to_have_count(0, timeout=10_000)


def test_prices_move_on_the_dashboard(fast_server: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/")
    cell = page.locator("#performance-table tbody tr", has_text="BTC").locator("td").nth(1)
    expect(cell).not_to_have_text(cell.inner_text(), timeout=10_000)
    assert float(cell.inner_text().replace(",", "")) > 0


def test_the_totals_agree_with_each_other_while_they_move(
    fast_server: Server, open_page: Open, page: Page, api: Any
) -> None:
    """What a push moves, every figure made of it moves too: the day's percent is the day's money over its start."""
    from playwright.sync_api import expect

    made = {"name": "Moving", "kind": "hold", "interval": "1m", "coins": ["BTC", "DOGE"]}
    model = api(fast_server, "POST", "/api/models", made)
    open_page(fast_server, "/")
    expect(page.locator("#positions-table tbody tr", has_text="Moving").first).to_be_visible(timeout=15_000)
    total = page.locator("#total-value")
    for _turn in range(3):
        expect(total).not_to_have_text(total.inner_text(), timeout=10_000)
        value, today, percent = page.evaluate(
            """() => ["total-value", "pnl-today", "pnl-today-hint"]
                .map((id) => Number(document.getElementById(id).innerText.replace(/[,%]/g, "")))"""
        )
        assert abs(percent - 100 * today / (value - today)) < 0.006
    api(fast_server, "DELETE", f"/api/models/{model['id']}")


def test_a_live_table_keeps_its_rows(fast_server: Server, open_page: Open, page: Page) -> None:
    """Only the cells that change are replaced: a tooltip, a selection or a focused link lives on."""
    from playwright.sync_api import expect

    open_page(fast_server, "/")
    row = page.locator("#performance-table tbody tr", has_text="ETH")
    row.evaluate("(tr) => { tr.marked = true; tr.cells[0].marked = true; tr.cells[1].marked = true; }")
    link = row.get_by_role("link")
    link.focus()
    price = row.locator("td").nth(1)
    expect(price).not_to_have_text(price.inner_text(), timeout=10_000)
    assert row.evaluate("(tr) => [tr.marked === true, tr.cells[0].marked === true, tr.cells[1].marked === true]") == [
        True, True, False,
    ]  # fmt: skip
    expect(link).to_be_focused()


def test_the_market_clock_runs_at_its_speed(fast_server: Server, open_page: Open, page: Page) -> None:
    open_page(fast_server, "/coins")
    read = "Date.parse(document.querySelector('#clock').dateTime)"
    before = page.evaluate(read)
    page.wait_for_timeout(2500)
    gone = (page.evaluate(read) - before) / 1000
    assert 60 <= gone <= 300, f"{gone} market seconds in 2.5 s"


def test_a_page_survives_its_server(
    start_server: StartServer, open_page: Open, page: Page, console_errors: list[str], api: Any
) -> None:
    from playwright.sync_api import expect

    server = start_server(SIMULATED_SPEED="60")
    open_page(server, "/models")
    expect(page.locator("#models-table tbody tr")).to_have_count(3, timeout=15_000)
    server.kill()
    expect(page.locator("#connection b")).to_have_text("DISCONNECTED", timeout=10_000)
    expect(page.locator("[data-banner=connection]")).to_contain_text("lost")
    expect(page.locator("#models")).to_have_attribute("data-state", "stale")
    again = start_server(data_dir=server.data_dir, PORT=str(server.port), SIMULATED_SPEED="60")
    # made while the page was away: it must read it by itself
    api(again, "POST", "/api/models", {"name": "Made meanwhile", "kind": "hold", "coins": ["BTC"]})
    expect(page.locator("#connection b")).to_have_text("CONNECTED", timeout=15_000)
    expect(page.locator("[data-banner=connection]")).to_have_count(0)
    expect(page.locator("#models-table")).to_contain_text("Made meanwhile")
    expect(page.locator("#models")).to_have_attribute("data-state", "ready")
    refused = [
        words for words in console_errors if "ERR_CONNECTION_REFUSED" in words or "WebSocket connection" in words
    ]
    console_errors[:] = [words for words in console_errors if words not in refused]


def test_where_no_live_connection_is_allowed_pages_read_again(
    fast_server: Server, page: Page, console_errors: list[str]
) -> None:
    from playwright.sync_api import expect

    page.route_web_socket("**/socket.io/**", lambda socket: socket.close())
    page.route("**/socket.io/**", lambda route: route.abort())
    page.goto(fast_server.url + "/")
    expect(page.locator("#connection b")).to_have_text("ERROR", timeout=10_000)
    assert page.locator("[data-banner=connection]").inner_text()
    first = page.locator("#total-value").inner_text()
    expect(page.locator("#total-value")).not_to_have_text(first, timeout=25_000)
    console_errors[:] = [words for words in console_errors if "ERR_FAILED" not in words and "WebSocket" not in words]
