"""Models by hand: made in the page, run once, paused, edited, deleted; limits explained where they bite."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import Server

Open = Callable[["Server", str], "Page"]


def test_a_model_is_made_run_edited_and_deleted(
    fast_server: Server, open_page: Open, page: Page, api: Any, console_errors: list[str]
) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/models")
    page.get_by_role("button", name="New model").click()
    form = page.locator("#model-form")
    form.get_by_label("Name", exact=True).fill("By hand")
    # a rules model needs a strategy, and the form says so beside the field
    form.get_by_role("button", name="Create model").click()
    expect(form.locator(".invalid-feedback")).to_contain_text("strategy")
    console_errors[:] = [words for words in console_errors if "422" not in words]  # the browser tells of a refusal too
    form.get_by_label("Kind").select_option("hold")
    expect(form.get_by_label("Strategy")).to_be_hidden()
    expect(form.get_by_label("Largest position")).to_have_value("0")
    form.get_by_label("Candles").select_option("1m")
    form.get_by_label("Capital").fill("5000")
    form.get_by_label("Fee, each side").fill("0.05")
    picker = form.get_by_role("combobox", name="Coins")
    picker.fill("bitcoin")
    picker.press("Enter")
    picker.fill("eth")
    picker.press("Enter")
    picker.press("Escape")
    form.get_by_role("button", name="Create model").click()
    page.wait_for_url("**/models/*")
    expect(page.locator("h1")).to_contain_text("By hand")
    model_id = int(page.url.rsplit("/", 1)[1])
    made = api(fast_server, "GET", f"/api/models/{model_id}")
    assert (made["coins"], made["initial_capital"], made["trade_fee_rate"]) == (["BTC", "ETH"], 5000, 0.0005)

    expect(page.locator("#trades-table tbody tr")).to_have_count(2, timeout=15_000)  # by itself
    expect(page.locator("#positions-table tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Run one cycle now").first.click()
    expect(page.locator("#cycle")).to_contain_text("decision")
    page.locator("#decisions-table .row-toggle").first.click()
    expect(page.locator("#decisions-table tr.detail")).to_be_visible()

    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator("#model-status")).to_have_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#model-status")).to_have_text("Running")

    page.get_by_role("button", name="Edit", exact=True).click()
    form = page.locator("#model-form")
    expect(form.get_by_label("Kind")).to_be_disabled()
    form.get_by_label("Fee, each side").fill("150")
    form.get_by_role("button", name="Save changes").click()
    expect(form.locator(".input-group:has([name=fee_percent]) + .invalid-feedback")).to_be_visible()
    form.get_by_label("Fee, each side").fill("0.05")
    form.get_by_label("Name", exact=True).fill("Renamed")
    form.get_by_label("Highest leverage").fill("3")
    form.get_by_role("button", name="Save changes").click()
    expect(page.locator("h1")).to_contain_text("Renamed")
    assert api(fast_server, "GET", f"/api/models/{model_id}")["risk"]["max_leverage"] == 3

    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 open positions")
    dialog.get_by_role("button", name="Delete model").click()
    page.wait_for_url("**/models")
    expect(page.locator("#models-table")).not_to_contain_text("Renamed")


def test_a_group_goes_into_a_pool_at_once(fast_server: Server, open_page: Open, page: Page, api: Any) -> None:
    from playwright.sync_api import expect

    model = api(fast_server, "POST", "/api/models", {"name": "Pooled", "kind": "hold", "status": "paused"})
    open_page(fast_server, f"/models/{model['id']}")
    expect(page.locator("#pool-empty")).to_contain_text("trades nothing")
    page.locator("#pool-groups").get_by_role("button", name="Meme").click()
    expect(page.locator("#toasts")).to_contain_text("added")
    count = len(api(fast_server, "GET", f"/api/models/{model['id']}/coins"))
    assert count > 3
    expect(page.locator("#pool-table tbody tr")).to_have_count(count)
    expect(page.locator("#pool-empty")).to_be_hidden()
    api(fast_server, "DELETE", f"/api/models/{model['id']}")


def test_a_models_strategy_is_one_press_away(fast_server: Server, open_page: Open, page: Page, api: Any) -> None:
    from playwright.sync_api import expect

    last = api(fast_server, "GET", "/api/strategies")[-1]
    made = {"name": "Follower", "kind": "rules", "strategy_id": last["id"], "coins": ["BTC"], "status": "paused"}
    model = api(fast_server, "POST", "/api/models", made)
    open_page(fast_server, f"/models/{model['id']}")
    page.locator("#settings-facts").get_by_role("link", name=last["name"]).click()
    page.wait_for_url("**/strategies?id=*")
    expect(page.locator("#editor-title")).to_have_text(last["name"])
    api(fast_server, "DELETE", f"/api/models/{model['id']}")


def test_an_unknown_model_is_a_page_that_says_so(fast_server: Server, page: Page, console_errors: list[str]) -> None:
    from playwright.sync_api import expect

    page.goto(fast_server.url + "/models/999999")
    expect(page.locator("h1")).to_have_text("404")
    console_errors[:] = [words for words in console_errors if "404" not in words]
