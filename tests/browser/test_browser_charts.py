"""Charts: candles are drawn, the last one moves, older ones come, trades are marked, the address says it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import Server

Open = Callable[["Server", str], "Page"]
LAST_CLOSE = ".price-legend"


def test_candles_are_drawn_and_the_last_one_moves(fast_server: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/charts?coin=ETH&interval=5m")
    expect(page.locator("#chart")).to_have_attribute("data-state", "ready")
    colours = page.evaluate(
        """() => { const seen = new Set();
             for (const canvas of document.querySelectorAll("#price-chart canvas")) {
               if (!canvas.width || !canvas.height) continue;
               const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
               for (let i = 0; i < data.length; i += 4) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
             } return [...seen]; }"""
    )
    assert "46,189,133" in colours, "no rising candle was drawn"
    assert "246,70,93" in colours, "no falling candle was drawn"
    expect(page.locator("#chart .src")).to_contain_text("SIMULATED")
    expect(page.get_by_role("img", name="Charting by TradingView")).to_be_visible()
    first = page.locator(LAST_CLOSE).inner_text()
    expect(page.locator(LAST_CLOSE)).not_to_have_text(first, timeout=10_000)


def test_the_address_carries_the_choice(fast_server: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/charts")
    page.get_by_role("combobox", name="Coin").fill("sol")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="15m").click()
    page.locator("#model-select").select_option(label="Hold")
    page.wait_for_url("**/charts?coin=SOL&interval=15m&model=*")
    page.reload()
    expect(page.locator("#quote .coin")).to_contain_text("SOL")
    expect(page.get_by_role("button", name="15m")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#model-select option:checked")).to_have_text("Hold")


def test_older_bars_come_while_one_scrolls_left(fast_server: Server, open_page: Open, page: Page) -> None:
    open_page(fast_server, "/charts?coin=BTC&interval=1h")
    page.wait_for_selector("#chart[data-state=ready]")
    chart = page.locator("#price-chart .canvas")
    with page.expect_response(lambda answer: "/api/klines/BTC" in answer.url and "end=" in answer.url) as older:
        box = chart.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
        for _ in range(12):
            page.mouse.wheel(-900, 0)
            page.wait_for_timeout(50)
    assert len(older.value.json()) == 1000


def test_a_day_can_be_jumped_to(fast_server: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/charts?coin=BTC&interval=1h")
    page.locator("#jump-to").fill("2023-03-15")
    page.wait_for_url("**at=1678838400000")
    expect(page.locator(LAST_CLOSE)).to_contain_text("2023")
    page.get_by_role("button", name="Latest").click()
    expect(page.locator(LAST_CLOSE)).not_to_contain_text("2023")


def test_a_day_before_the_first_candle_says_what_to_do(fast_server: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/charts?coin=BTC&interval=1h")
    expect(page.locator("#chart")).to_have_attribute("data-state", "ready", timeout=10_000)
    page.locator("#jump-to").fill("1999-05-01")
    page.locator("#jump-to").press("Enter")
    expect(page.locator("#chart")).to_have_attribute("data-state", "empty", timeout=10_000)
    page.locator("#chart").get_by_role("button", name="Go to the latest").click()
    expect(page.locator("#chart")).to_have_attribute("data-state", "ready", timeout=10_000)


def test_trades_of_a_model_are_listed_and_shown(fast_server: Server, open_page: Open, page: Page, api: Any) -> None:
    from playwright.sync_api import expect

    hold = next(one for one in api(fast_server, "GET", "/api/models") if one["kind"] == "hold")
    page.wait_for_timeout(100)
    open_page(fast_server, f"/charts?coin=BTC&interval=4h&model={hold['id']}")
    row = page.locator("#marks-table tbody tr").first
    expect(row).to_contain_text("open", timeout=15_000)
    row.get_by_role("button", name="Show").click()
    page.wait_for_url("**at=*")
    # the trade's bar is in the middle now: a click on it shows its row
    pane = page.locator("#price-chart .canvas td:nth-child(2)").first.bounding_box()
    assert pane is not None
    page.mouse.click(pane["x"] + pane["width"] / 2, pane["y"] + pane["height"] / 2)
    expect(row).to_have_class("is-selected")


def test_a_coin_without_candles_says_so(
    fast_server: Server, open_page: Open, page: Page, console_errors: list[str]
) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/charts?coin=NOSUCH")
    expect(page.locator("#chart")).to_have_attribute("data-state", "error")
    expect(page.locator("#chart .panel-state")).to_contain_text("NOSUCH")
    expect(page.locator("#chart").get_by_role("button", name="Try again")).to_be_visible()
    console_errors[:] = [words for words in console_errors if "404" not in words]


def test_one_failed_reading_does_not_leave_the_chart_behind(
    fast_server: Server, open_page: Open, page: Page, console_errors: list[str]
) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/charts?coin=ETH&interval=1m")
    chart = page.locator("#chart")
    expect(chart).to_have_attribute("data-state", "ready")
    refusal = {"status": 409, "content_type": "application/json", "body": '{"error": "not now"}'}
    page.route("**/api/klines/**", lambda route: route.fulfill(**refusal))
    expect(chart).to_have_attribute("data-state", "stale", timeout=15_000)
    page.unroute("**/api/klines/**")
    expect(chart).to_have_attribute("data-state", "ready", timeout=5_000)
    assert all("409" in line for line in console_errors)
    console_errors.clear()


def test_a_chart_left_open_forgets_its_oldest_bars(fast_server: Server, open_page: Open, page: Page) -> None:
    open_page(fast_server, "/charts?coin=BTC&interval=1m")
    page.wait_for_selector("#chart[data-state=ready]")
    kept, last, in_sight = page.evaluate(
        """async () => {
             const { PriceChart } = await import("/static/js/components/pricechart.js");
             const box = document.createElement("div");
             box.className = "chart-box";
             document.querySelector("main").append(box);
             const chart = new PriceChart(box);
             chart.setInterval("1m");
             const bar = (n) => ({ timestamp: n * 60000, open: 1, high: 2, low: 1, close: 2, volume: 1 });
             chart.setBars(Array.from({ length: 19990 }, (_one, n) => bar(n)));
             for (let n = 19990; n < 20050; n += 1) chart.update(bar(n));
             const range = chart.chart.timeScale().getVisibleLogicalRange();
             return [chart.bars.length, chart.bars.at(-1).timestamp, range.to > 9900 && range.to < 10100];
           }"""
    )
    assert kept < 10_100
    assert last == 20_049 * 60_000
    assert in_sight, "the newest bars left the view"
