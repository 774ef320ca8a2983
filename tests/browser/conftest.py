"""A server whose market runs sixty times as fast, and helpers that read a page as a person does."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Server, _starter

if TYPE_CHECKING:
    from playwright.sync_api import Page


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def fast_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A minute of its market is a second: candles close and models trade while a test looks on.

    One for all these tests, so each makes what it needs and leaves nothing that another stumbles over.
    """
    started: list[Server] = []
    yield _starter(tmp_path_factory.mktemp("fast"), started)(SIMULATED_SPEED="60")
    for server in started:
        server.stop()


Call = Callable[..., Any]


@pytest.fixture
def api() -> Call:
    """Calls a JSON route as a program does: `api(server, "POST", "/api/coins", {...})`."""

    def call(server: Server, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(  # noqa: S310 - our own loopback URL
            server.url + path, data=data, method=method, headers={"Content-Type": "application/json"} if data else {}
        )
        with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310
            text = answer.read()
            return json.loads(text) if text else None

    return call


@pytest.fixture
def open_page(page: Page) -> Callable[[Server, str], Page]:
    """Opens a page and waits until it is connected."""
    from playwright.sync_api import expect

    def go(server: Server, path: str) -> Page:
        page.goto(server.url + path)
        expect(page.locator("#connection")).to_contain_text("CONNECTED", timeout=10_000)
        return page

    return go
