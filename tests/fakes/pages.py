"""What browser tests of several pages need: candles in a server's store, and whether a page fits its window."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain.market import Bars
from tests.candle_files import write_parquet

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import Server

_BOUNDARY = "curlew-test-boundary"


def parquet_of(path: Path, bars: Bars) -> Path:
    names = ("timestamp", "open", "high", "low", "close", "volume")
    return write_parquet(path, dict(zip(names, bars.columns(), strict=True)))


def import_files(server: Server, files: dict[str, Path]) -> dict[str, Any]:
    """POST /api/candles/import of {name with folders: file}; the route's report."""
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        + path.read_bytes()
        + b"\r\n"
        for name, path in files.items()
    ]
    asked = urllib.request.Request(  # noqa: S310 - our own loopback URL
        f"{server.url}/api/candles/import",
        data=b"".join([*parts, f"--{_BOUNDARY}--\r\n".encode()]),
        headers={"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"},
        method="POST",
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
        report: dict[str, Any] = json.loads(answer.read())
    assert report["totals"]["errors"] == 0, report
    return report


def assert_fits(page: Page) -> None:
    """Nothing but a table or a row of tabs is wider than the window."""
    wide = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter((one) => {
             const box = one.getBoundingClientRect();
             const isFree = one.closest(".table-scroll, .tabs, .visually-hidden");
             return box.width > 0 && box.right > innerWidth + 1 && !isFree;
           }).map((one) => `${one.tagName}.${one.className}`).slice(0, 5)"""
    )
    sizes = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert sizes[0] <= sizes[1], f"the page scrolls sideways: {sizes}, because of {wide}"
    assert not wide, f"cut off at the window's edge: {wide}"
