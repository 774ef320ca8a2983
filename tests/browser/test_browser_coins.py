"""Coins by hand: add, edit, deactivate, group; into a model's pool; and names that try to be markup."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import Server

Open = Callable[["Server", str], "Page"]
HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_coin_is_added_and_put_into_a_pool(
    fast_server: Server, open_page: Open, page: Page, api: Any, console_errors: list[str]
) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/coins")
    page.get_by_role("button", name="Add a coin").first.click()
    expect(page.get_by_label("Symbol", exact=True)).to_be_focused()
    # what is wrong is said beside its field
    page.get_by_label("Symbol", exact=True).fill("BTC")
    page.locator("#coin-form").get_by_label("Name", exact=True).fill("Another one")
    page.get_by_role("button", name="Add coin", exact=True).click()
    expect(page.locator("#coin-form .invalid-feedback")).to_contain_text("BTC")
    expect(page.get_by_label("Symbol", exact=True)).to_be_focused()
    page.get_by_label("Symbol", exact=True).fill("NEWT")
    page.get_by_role("button", name="Add coin", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("NEWT is added")
    expect(page.locator("#coin-editor")).to_be_hidden()
    page.get_by_label("Search coins").fill("NEWT")
    expect(page.locator("[data-coin=NEWT]")).to_be_visible()

    open_page(fast_server, "/models/1")
    picker = page.get_by_role("combobox", name="Add a coin to the pool")
    picker.fill("newt")
    expect(page.get_by_role("option")).to_have_count(1)
    picker.press("Enter")
    row = page.locator("#pool-table tr", has_text="NEWT")
    expect(row).to_be_visible()
    weight = row.get_by_label("Weight of NEWT")
    weight.fill("2.5")
    weight.press("Tab")
    row.get_by_role("switch").uncheck()
    page.reload()
    row = page.locator("#pool-table tr", has_text="NEWT")
    expect(row.get_by_label("Weight of NEWT")).to_have_value("2.5")
    expect(row.get_by_role("switch")).not_to_be_checked()
    row.get_by_role("button", name="Remove NEWT from the pool").click()
    expect(row).to_have_count(0)
    console_errors[:] = [words for words in console_errors if "409" not in words]  # the browser tells of a refusal too
    assert "NEWT" not in [one["symbol"] for one in api(fast_server, "GET", "/api/models/1/coins")]


def test_edit_deactivate_and_reactivate(fast_server: Server, open_page: Open, page: Page, api: Any) -> None:
    from playwright.sync_api import expect

    api(fast_server, "POST", "/api/coins", {"symbol": "EDITME", "name": "Before"})
    open_page(fast_server, "/coins")
    page.get_by_label("Search coins").fill("EDITME")
    page.get_by_role("button", name="Edit EDITME").click()
    expect(page.get_by_label("Symbol", exact=True)).to_be_disabled()
    page.locator("#coin-form").get_by_label("Name", exact=True).fill("After")
    page.get_by_label("Tags").fill("one, two")
    page.get_by_role("button", name="Save changes").first.click()
    expect(page.locator("[data-coin=EDITME]")).to_contain_text("After")
    page.get_by_role("button", name="Deactivate EDITME").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Candles, positions and trades of it stay")
    dialog.get_by_role("button", name="Deactivate").click()
    expect(page.locator("[data-coin=EDITME]")).to_have_count(0)
    page.get_by_label("Active or not").select_option("0")
    page.get_by_role("button", name="Reactivate EDITME").click()
    expect(page.locator("[data-coin=EDITME]")).to_have_count(0)
    coin = next(one for one in api(fast_server, "GET", "/api/coins") if one["symbol"] == "EDITME")
    assert (coin["name"], coin["tags"], coin["is_active"]) == ("After", ["one", "two"], True)


def test_cards_and_table_show_the_same(fast_server: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/coins")
    page.locator("#coin-category").select_option("Meme")
    cards = page.locator(".coin-card").count()
    assert cards > 3
    page.get_by_role("button", name="Table", exact=True).click()
    expect(page.locator("#coins-view tbody tr")).to_have_count(cards)
    page.reload()
    expect(page.locator("#coins-view table")).to_be_visible()  # the choice is kept


def test_groups_keep_their_order(fast_server: Server, open_page: Open, page: Page, api: Any) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/coins#groups")
    page.locator("#g-name").fill("Mine")
    picker = page.locator("#group-coins").get_by_role("combobox")
    for symbol in ("ETH", "BTC", "SOL"):
        picker.fill(symbol)
        picker.press("Enter")
    picker.press("Escape")
    page.get_by_role("button", name="Move SOL up").click()
    page.get_by_role("button", name="Create group").click()
    expect(page.locator("#groups-table")).to_contain_text("Mine")
    groups = {one["name"]: one for one in api(fast_server, "GET", "/api/coin-groups")}
    assert [coin["symbol"] for coin in groups["Mine"]["coins"]] == ["ETH", "SOL", "BTC"]
    page.get_by_role("button", name="Delete group").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete group").click()
    expect(page.locator("#groups-table").get_by_role("button", name="Mine")).to_have_count(0)


def test_a_hostile_name_is_text_everywhere(fast_server: Server, open_page: Open, page: Page, api: Any) -> None:
    from playwright.sync_api import expect

    fired: list[str] = []
    page.on("dialog", lambda dialog: (fired.append(dialog.message), dialog.dismiss()))
    coin = api(
        fast_server, "POST", "/api/coins", {"symbol": "XSS", "name": HOSTILE, "category": HOSTILE, "tags": [HOSTILE]}
    )
    model = api(
        fast_server, "POST", "/api/models", {"name": HOSTILE, "kind": "hold", "coins": ["XSS"], "interval": "1m"}
    )
    open_page(fast_server, "/coins")
    page.get_by_label("Search coins").fill("xss")
    expect(page.locator("[data-coin=XSS]")).to_contain_text(HOSTILE)
    page.get_by_role("button", name="Table", exact=True).click()
    expect(page.locator("#coins-view tbody")).to_contain_text(HOSTILE)
    page.get_by_role("button", name="Edit XSS").click()
    expect(page.locator("#coin-form").get_by_label("Name", exact=True)).to_have_value(HOSTILE)
    open_page(fast_server, "/charts?coin=XSS")
    expect(page.locator("#quote .coin")).to_contain_text(HOSTILE)
    page.get_by_role("combobox", name="Coin").fill("xss")
    expect(page.get_by_role("option").first).to_contain_text(HOSTILE)
    expect(page.locator("#model-select")).to_contain_text(HOSTILE)
    open_page(fast_server, f"/models/{model['id']}")
    expect(page.locator("#pool-table")).to_contain_text(HOSTILE)
    expect(page.locator("h1")).to_contain_text(HOSTILE)
    open_page(fast_server, "/")
    expect(page.locator("#leaderboard-table")).to_contain_text(HOSTILE)
    expect(page.locator("#performance-table")).to_contain_text(HOSTILE)
    assert page.locator("img[src=x]").count() == 0
    assert fired == []
    api(fast_server, "DELETE", f"/api/models/{model['id']}")
    api(fast_server, "DELETE", f"/api/coins/{coin['id']}")
