"""Settings and About in a real Chromium: every setting, no secret, tokens shown once."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.fakes.pages import assert_fits

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import Server, StartServer

Open = Callable[["Server", str], "Page"]


def test_every_setting_is_shown_and_nothing_secret(start_server: StartServer, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    from config import Settings

    server = start_server(OPENAI_API_KEY="sk-very-secret", SIMULATED_SPEED="5", REDIS_URL="")
    open_page(server, "/settings")
    rows = page.locator(".settings-table tbody tr")
    names = rows.evaluate_all("rows => rows.map((row) => row.id)")
    assert names == [name.upper() for name in Settings.model_fields]
    expect(page.locator("#OPENAI_API_KEY")).to_contain_text("set")
    expect(page.locator("#OPENAI_API_KEY")).not_to_contain_text("not set")
    expect(page.locator("#QWEN_API_KEY")).to_contain_text("not set")
    expect(page.locator("#SIMULATED_SPEED td").nth(1)).to_have_text("5")
    expect(page.locator("#SIMULATED_SPEED td").nth(2)).to_have_text("1")
    expect(page.locator("#MARKET")).to_contain_text("auto, exchanges, simulated")
    assert "sk-very-secret" not in page.content()
    facts = page.locator(".facts").first
    expect(facts).to_contain_text("SIMULATED MARKET")
    expect(facts).to_contain_text(f"{server.data_dir}/curlew.db")
    expect(facts).to_contain_text("5×")


def status(server: Server, token: str) -> int:
    asked = urllib.request.Request(  # noqa: S310 - our own loopback URL
        f"{server.url}/api/models", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_tokens_are_made_shown_once_and_deleted(start_server: StartServer, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    server = start_server(ADMIN_PASSWORD="a password of some length")
    page.goto(f"{server.url}/settings")
    page.locator("input[type=password]").fill("a password of some length")
    page.locator("button[type=submit]").click()
    page.wait_for_url("**/settings")
    expect(page.locator("#tokens")).to_have_attribute("data-state", "empty")
    page.fill("#f-name", "<i>nightly</i>")
    page.get_by_role("button", name="Make token").click()
    token = page.locator("#token-text").inner_text()
    assert token.startswith("curlew_")
    expect(page.locator("#tokens-table tbody tr")).to_contain_text("<i>nightly</i>")
    assert status(server, token) == 200

    open_page(server, "/settings")
    expect(page.locator("#tokens-table tbody tr")).to_contain_text("<i>nightly</i>")
    assert token not in page.content()
    assert "a password of some length" not in page.content()
    page.get_by_role("button", name="Delete the token").click()
    page.locator("dialog").get_by_role("button", name="Delete token").click()
    expect(page.locator("#tokens")).to_have_attribute("data-state", "empty")
    assert status(server, token) == 401


def test_about_names_the_version_and_the_charts_makers(live_server: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    open_page(live_server, "/about")
    expect(page.locator("#version")).not_to_be_empty()
    expect(page.locator("main")).to_contain_text("TradingView Lightweight Charts™")
    expect(page.locator("main")).to_contain_text("2025 TradingView, Inc. https://www.tradingview.com/")
    for link in page.locator("main a[href^='/']").evaluate_all("links => links.map((link) => link.pathname)"):
        live_server.get(link)


@pytest.mark.parametrize("path", ["/settings", "/about"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit(path: str, width: int, live_server: Server, open_page: Open, page: Page) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    open_page(live_server, path)
    assert_fits(page)
