"""Every page in a real Chromium: it connects, complains of nothing, fits a phone, and can be walked by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import Server

Open = Callable[["Server", str], "Page"]

PAGES = ("/", "/charts", "/coins", "/coins#groups", "/models", "/models#new", "/models/1")


def assert_no_sideways_scroll(page: Page) -> None:
    wide = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter((one) => {
             const box = one.getBoundingClientRect();
             return box.width > 0 && box.right > innerWidth + 1 && !one.closest(".table-scroll, .tabs");
           }).map((one) => `${one.tagName}.${one.className}`).slice(0, 5)"""
    )
    sizes = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert sizes[0] <= sizes[1], f"the page scrolls sideways: {sizes}, because of {wide}"


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [1280, 390])
def test_page_connects_and_fits(path: str, width: int, fast_server: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    page.set_viewport_size({"width": width, "height": 844})
    open_page(fast_server, path)
    expect(page.locator(".panel[data-state=loading]")).to_have_count(0, timeout=10_000)
    assert not page.locator(".panel[data-state=error]").count(), page.locator(
        ".panel[data-state=error]"
    ).all_inner_texts()
    assert page.locator("header [data-market-tag]").inner_text() == "SIMULATED MARKET"
    assert page.locator("#connection b").inner_text() == "CONNECTED"
    assert_no_sideways_scroll(page)


def test_a_page_says_what_it_is_doing_before_it_is_connected(fast_server: Server, page: Page) -> None:
    page.route_web_socket("**/socket.io/**", lambda _socket: None)  # it is taken, and never answered
    page.goto(fast_server.url + "/coins")
    assert page.locator("#connection b").inner_text() == "CONNECTING TO SERVER"


def test_dashboard_shows_numbers_before_any_script_runs(fast_server: Server) -> None:
    html = fast_server.get("/").decode()
    assert '<dd class="num" id="total-value">' in html
    value = html.split('id="total-value">')[1].split("<")[0]
    assert float(value.replace(",", "")) > 1000


def test_menu_of_a_phone(fast_server: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    page.set_viewport_size({"width": 390, "height": 844})
    open_page(fast_server, "/")
    menu, toggle = page.locator("#nav-main"), page.locator("#nav-toggle")
    expect(menu).to_be_hidden()
    toggle.click()
    expect(menu).to_be_visible()
    expect(toggle).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(toggle).to_be_focused()
    toggle.click()
    menu.get_by_role("link", name="Coins").click()
    page.wait_for_url("**/coins")


def test_keyboard_reaches_content_tables_and_dialogs(fast_server: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    open_page(fast_server, "/models")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="New model")).to_be_focused()
    # sorting by keyboard keeps the focus on its column
    heading = page.get_by_role("button", name="Return")
    heading.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#models-table th", has_text="Return")).to_have_attribute("aria-sort", "descending")
    page.keyboard.press("Enter")
    expect(page.locator("#models-table th", has_text="Return")).to_have_attribute("aria-sort", "ascending")
    expect(page.get_by_role("button", name="Return")).to_be_focused()
    # a dialog takes the focus, closes on Escape and gives it back
    button = page.get_by_role("button", name="Pause Hold")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Pause Hold?")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()


def test_every_control_has_a_name(fast_server: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    for path in PAGES:
        open_page(fast_server, path)
        expect(page.locator(".panel[data-state=loading]")).to_have_count(0, timeout=10_000)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, a[href], input:not([type=hidden]), select, textarea")]
                 .filter((one) => one.checkVisibility())
                 .filter((one) => !one.textContent.trim() && !one.labels?.length && !one.title
                                  && !one.getAttribute("aria-label") && !one.getAttribute("aria-labelledby")
                                  && !one.querySelector("img[alt]:not([alt=''])"))
                 .map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert nameless == [], f"{path}: {nameless}"
