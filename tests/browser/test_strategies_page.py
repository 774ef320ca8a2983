"""The strategy editor in a real Chromium: rules are built from menus, said in words, refused where they are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.pages import assert_fits

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import Server

Open = Callable[["Server", str], "Page"]
Call = Callable[..., Any]


def opened(open_page: Open, server: Server, path: str) -> Page:
    from playwright.sync_api import expect

    page = open_page(server, path)
    expect(page.locator("#editor")).to_have_attribute("data-state", "ready", timeout=10_000)
    return page


def at(page: Page, path: str) -> Any:
    return page.locator(f'[name="{path}"]')


def named(api: Call, server: Server, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in api(server, "GET", "/api/strategies") if one["name"] == name)
    return found


def test_a_strategy_is_built_from_menus_and_saved(live_server: Server, open_page: Open, api: Call) -> None:
    from playwright.sync_api import expect

    page = opened(open_page, live_server, "/strategies?new=1")
    page.fill("#f-name", "Dips <b>in</b> a trend")
    page.fill("#f-description", "Buys weakness above the long average.")
    buy, sell = page.locator("#buy-side"), page.locator("#sell-side")
    buy.get_by_role("button", name="Add conditions").click()
    expect(at(page, "buy_groups.0.conditions.0.indicator_type")).to_be_focused()
    at(page, "buy_groups.0.conditions.0.indicator_type").select_option("RSI")
    at(page, "buy_groups.0.conditions.0.signal_type").select_option("cross_above")
    at(page, "buy_groups.0.conditions.0.params.level").fill("35.5")
    buy.get_by_role("button", name="Add condition").click()
    at(page, "buy_groups.0.conditions.1.signal_type").select_option("above")
    at(page, "buy_groups.0.conditions.1.params.period").fill("200")
    sell.get_by_role("button", name="Add conditions").click()
    at(page, "sell_groups.0.conditions.0.indicator_type").select_option("BOLL")
    at(page, "sell_groups.0.conditions.0.params.band").select_option("upper")
    sell.get_by_role("button", name="Add another group (or)").click()
    at(page, "sell_groups.1.conditions.0.signal_type").select_option("bearish_alignment")
    at(page, "sell_groups.1.conditions.0.params.periods").fill("10, 20 50")
    at(page, "sell_groups.1.logic").select_option("OR")

    words = page.locator("#in-words")
    expect(words).to_contain_text("RSI (14) crosses above 35.5andthe close is above the 200-bar simple average")
    expect(words).to_contain_text("simple averages of 10/20/50 bars stand in order, the shortest at the bottom")
    expect(page.locator("#strategy-state")).to_have_text("Not saved yet")
    page.get_by_role("button", name="Create strategy").click()
    expect(page.locator("#editor-title")).to_have_text("Dips <b>in</b> a trend")

    saved = named(api, live_server, "Dips <b>in</b> a trend")
    assert saved["direction"] == "long"
    assert saved["description"] == "Buys weakness above the long average."
    rsi, average = saved["buy_groups"][0]["conditions"]
    assert rsi == {"indicator_type": "RSI", "signal_type": "cross_above", "params": {"period": 14, "level": 35.5}}
    assert average == {"indicator_type": "MA", "signal_type": "above", "params": {"period": 200}}
    assert [group["logic"] for group in saved["sell_groups"]] == ["AND", "OR"]
    assert saved["sell_groups"][0]["conditions"][0]["params"]["band"] == "upper"
    assert saved["sell_groups"][1]["conditions"][0]["params"] == {"periods": [10, 20, 50]}
    backtest = page.get_by_role("link", name="Backtest this")
    expect(backtest).to_have_attribute("href", f"/backtest?strategy={saved['id']}")


def test_what_is_wrong_is_said_at_its_condition(
    live_server: Server, open_page: Open, console_errors: list[str]
) -> None:
    from playwright.sync_api import expect

    page = opened(open_page, live_server, "/strategies?new=1")
    page.fill("#f-name", "Too fast")
    page.locator("#buy-side").get_by_role("button", name="Add conditions").click()
    at(page, "buy_groups.0.conditions.0.params.fast").fill("90")
    page.get_by_role("button", name="Create strategy").click()
    field = at(page, "buy_groups.0.conditions.0.params.fast")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(page.locator(".rule-condition .invalid-feedback")).to_contain_text("fast (90) has to be shorter than slow")
    at(page, "buy_groups.0.conditions.0.params.fast").fill("12")
    expect(page.locator(".invalid-feedback")).to_have_count(0)
    at(page, "buy_groups.0.conditions.0.params.slow").fill("6000")
    page.get_by_role("button", name="Create strategy").click()
    expect(page.locator(".rule-condition .invalid-feedback")).to_contain_text("from 1 to 5000")
    page.fill("#f-name", "SMA cross 20/60")
    at(page, "buy_groups.0.conditions.0.params.slow").fill("60")
    page.get_by_role("button", name="Create strategy").click()
    expect(page.locator("#f-name")).to_have_attribute("aria-invalid", "true")
    console_errors[:] = [text for text in console_errors if "422" not in text and "409" not in text]


def test_a_built_in_one_is_duplicated_changed_and_deleted(live_server: Server, open_page: Open, api: Call) -> None:
    from playwright.sync_api import expect

    page = opened(open_page, live_server, "/strategies?id=2")
    original = api(live_server, "GET", "/api/strategies/2")
    expect(page.locator("#f-name")).to_have_attribute("readonly", "")
    expect(page.get_by_role("button", name="Delete", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Duplicate").click()
    expect(page.locator("#f-name")).to_have_value(f"{original['name']} (copy)")
    page.get_by_role("button", name="Short only").click()
    expect(page.locator("#sell-side legend")).to_have_text("Sell: opens a short")
    page.get_by_role("button", name="Create strategy").click()
    expect(page.locator("#editor-title")).to_have_text(f"{original['name']} (copy)")
    copy = named(api, live_server, f"{original['name']} (copy)")
    assert copy["buy_groups"] == original["buy_groups"]
    assert copy["direction"] == "short"
    assert api(live_server, "GET", "/api/strategies/2") == original

    page.locator("#buy-side").get_by_role("button", name="Remove group 1").click()
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator("#strategy-state")).to_be_empty()
    assert api(live_server, "GET", f"/api/strategies/{copy['id']}")["buy_groups"] == []
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("dialog").get_by_role("button", name="Delete strategy").click()
    expect(page.locator("#strategy-list")).not_to_contain_text("(copy)")
    assert all("(copy)" not in one["name"] for one in api(live_server, "GET", "/api/strategies"))


def test_unsaved_changes_are_not_lost_in_silence(live_server: Server, open_page: Open) -> None:
    from playwright.sync_api import expect

    page = opened(open_page, live_server, "/strategies?id=1")
    at(page, "buy_groups.0.conditions.0.params.fast").fill("25")
    page.locator("#strategy-list button", has_text="RSI reversion").click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("Leave without saving?")
    page.keyboard.press("Escape")
    expect(at(page, "buy_groups.0.conditions.0.params.fast")).to_have_value("25")
    page.get_by_role("button", name="Undo changes").click()
    expect(at(page, "buy_groups.0.conditions.0.params.fast")).to_have_value("20")
    page.locator("#strategy-list button", has_text="RSI reversion").click()
    expect(page.locator("#editor-title")).to_have_text("RSI reversion")


@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits(width: int, live_server: Server, open_page: Open, page: Page) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    opened(open_page, live_server, "/strategies?id=6")
    assert_fits(page)
