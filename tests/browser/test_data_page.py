"""The Data page in a real Chromium: upload, the import's report, stored series, their gaps, deletion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.candle_files import dump_row, hour, write_csv, write_parquet
from tests.fakes.backtests import walk
from tests.fakes.pages import assert_fits, import_files, parquet_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import Server, StartServer

Open = Callable[["Server", str], "Page"]
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def stored(live_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("candles")
    bars = walk(1, 400)
    rates: dict[str, object] = {"timestamp": bars.time[::8], "funding_rate": bars.close[::8] * 1e-6}
    files = {
        "binance/spot/BTCUSDT/1h.parquet": parquet_of(folder / "btc.parquet", walk(1, 400, slice(100, 110))),
        "okx/swap/ETH-USDT-SWAP/1h.parquet": parquet_of(folder / "eth.parquet", walk(2, 300)),
        "binance/spot/XRPUSDT/1h.parquet": parquet_of(folder / "xrp.parquet", walk(3, 200)),
        "funding/binance/BTCUSDT.parquet": write_parquet(folder / "funding.parquet", rates),
    }
    import_files(live_server, files)
    return live_server


def test_a_new_workspace_says_what_to_do_and_takes_an_upload(
    start_server: StartServer, tmp_path: Path, open_page: Open, page: Page, api: Call
) -> None:
    from playwright.sync_api import expect

    server = start_server()
    open_page(server, "/backtest")
    expect(page.locator("#form-panel .panel-state")).to_contain_text("flask candles import")
    page.locator("#form-panel").get_by_role("link", name="Import candles").click()
    page.wait_for_url("**/data")
    expect(page.locator("#series")).to_have_attribute("data-state", "empty")
    expect(page.locator("#import-submit")).to_be_disabled()

    good = write_csv(tmp_path / "ADAUSDT-1h-2024-01.csv", [dump_row(hour(place)) for place in range(48)])
    mixed = write_csv(
        tmp_path / "SOLUSDT-1h-2024-01.csv",
        [dump_row(hour(0)), dump_row(hour(1), prices=(100, 90, 110, 105)), dump_row(hour(2))],
    )
    broken = tmp_path / "nonsense.parquet"
    broken.write_bytes(b"not a table at all")
    page.set_input_files("#files", [good, mixed, broken])
    page.select_option("#f-venue", "binance")
    page.select_option("#f-market", "spot")
    page.get_by_role("button", name="Import 3 files").click()
    rows = page.locator("#import-files tbody tr")
    expect(rows).to_have_count(3, timeout=20_000)
    expect(page.locator("#import-figures")).to_contain_text("50")
    expect(rows.filter(has_text="ADAUSDT")).to_contain_text("48")
    assert rows.filter(has_text="nonsense").locator(".down").first.inner_text().strip()
    rows.filter(has_text="SOLUSDT").get_by_role("button", name="Details").click()
    expect(page.locator("#import-files tr.detail")).to_contain_text("line 2")

    expect(page.locator("#series-table tbody tr")).to_have_count(2)
    series = {one["symbol"]: one for one in api(server, "GET", "/api/candles")}
    assert series["ADAUSDT"]["rows"] == 48
    assert series["SOLUSDT"]["rows"] == 2
    assert series["SOLUSDT"]["gaps"] == 1
    open_page(server, "/backtest")
    expect(page.locator("#form-panel")).to_have_attribute("data-state", "ready")
    expect(page.locator("#coins .chip")).to_contain_text("ADA")


def test_an_upload_of_no_known_series_is_reported(stored: Server, tmp_path: Path, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    open_page(stored, "/data")
    page.set_input_files("#files", parquet_of(tmp_path / "candles.parquet", walk(9, 20)))
    page.get_by_role("button", name="Import 1 file").click()
    row = page.locator("#import-files tbody tr")
    expect(row).to_contain_text("candles.parquet", timeout=20_000)
    assert row.locator(".down").first.inner_text().strip()
    page.set_input_files("#files", tmp_path / "candles.parquet")
    page.select_option("#f-venue", "okx")
    page.select_option("#f-market", "perp")
    page.fill("#f-symbol", "SUI-USDT-SWAP")
    page.select_option("#f-interval", "1h")
    page.get_by_role("button", name="Import 1 file").click()
    expect(page.locator("#import-files tbody tr")).to_contain_text("okx/perp/SUI-USDT-SWAP/1h", timeout=20_000)
    expect(page.locator("#series-table")).to_contain_text("SUI-USDT-SWAP")


def test_series_filter_show_gaps_and_lead_to_charts(stored: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    open_page(stored, "/data")
    rows = page.locator("#series-table tbody tr:not(.detail)")
    expect(rows.filter(has_text="BTCUSDT")).to_have_count(1)
    page.select_option("#series-place", "okx perp")
    expect(rows.filter(has_text="BTCUSDT")).to_have_count(0)
    expect(rows.filter(has_text="ETH-USDT-SWAP")).to_have_count(1)
    page.select_option("#series-place", "")
    page.fill("#series-search", "btc")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("390")
    page.fill("#series-search", "nothing of that name")
    expect(page.locator("#series-none")).to_be_visible()
    page.fill("#series-search", "btc")
    expect(page.locator("#series-none")).to_be_hidden()
    rows.get_by_role("button", name="Details").click()
    detail = page.locator("#series-table tr.detail")
    expect(detail).to_contain_text("1 place where candles are missing, 10 candles in all")
    expect(detail).to_contain_text("2020-01-05 04:00:00 UTC – 2020-01-05 13:00:00 UTC")
    rows.get_by_role("link", name="Chart of binance spot BTCUSDT 1h").click()
    page.wait_for_url("**/charts?*venue=binance*")
    expect(page.locator("#chart")).to_have_attribute("data-state", "ready", timeout=10_000)


def test_deleting_candles_asks_once(stored: Server, open_page: Open, page: Page, api: Call) -> None:
    from playwright.sync_api import expect

    open_page(stored, "/data")
    page.get_by_role("button", name="Delete binance spot XRPUSDT 1h").click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("200 candles of binance spot XRPUSDT 1h")
    dialog.get_by_role("button", name="Delete candles").click()
    expect(page.locator("#series-table")).not_to_contain_text("XRPUSDT")
    assert all(one["symbol"] != "XRPUSDT" for one in api(stored, "GET", "/api/candles"))


def test_funding_rates_are_listed(stored: Server, open_page: Open, page: Page, api: Call) -> None:
    from playwright.sync_api import expect

    found = api(stored, "GET", "/api/funding")
    assert [(one["venue"], one["symbol"], one["rows"]) for one in found] == [("binance", "BTCUSDT", 50)]
    open_page(stored, "/data")
    expect(page.locator("#funding-table tbody tr")).to_contain_text("BTCUSDT")


@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits(width: int, stored: Server, open_page: Open, page: Page) -> None:
    from playwright.sync_api import expect

    page.set_viewport_size({"width": width, "height": 844})
    open_page(stored, "/data")
    expect(page.locator(".panel[data-state=loading]:visible")).to_have_count(0)
    page.locator("#series-table .row-toggle").first.click()
    assert_fits(page)
