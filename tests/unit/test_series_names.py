"""What paths tell about a series."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from domain.errors import BadData
from store.series_names import NameParts, parts_of_path

CASES = {
    "/d/binance/spot/BTCUSDT/1h.parquet": ("binance", "spot", "BTCUSDT", "1h"),
    "/d/binance/um/BTCUSDT/1h-mark.parquet": ("binance", "perp-mark", "BTCUSDT", "1h"),
    "/d/binance/um-mark/BTCUSDT/1h.parquet": ("binance", "perp-mark", "BTCUSDT", "1h"),
    "/d/okx/swap/BTC-USDT-SWAP/1h_derived-from-5m.parquet": ("okx", "perp", "BTC-USDT-SWAP", "1h"),
    "/d/okx/swap-mark/BTC-USDT-SWAP/1h.parquet": ("okx", "perp-mark", "BTC-USDT-SWAP", "1h"),
    "/d/hyperliquid/perp/kPEPE/15m.parquet": ("hyperliquid", "perp", "kPEPE", "15m"),
    "/d/kraken/spot/XBTUSD/1w.parquet": ("kraken", "spot", "XBTUSD", "1w"),
    "/d/dumps/spot/BTCUSDT-1h-2024-12.csv": (None, "spot", "BTCUSDT", "1h"),
    "/d/dumps/um/BTCUSDT-5m-2025-01-31.zip": (None, "perp", "BTCUSDT", "5m"),
    "/d/binance/um/BTCUSDT_250627-5m-2025-01.csv": ("binance", "perp", "BTCUSDT_250627", "5m"),
    "/d/x/BTCUSDT-1h-2024-12.csv": (None, None, "BTCUSDT", "1h"),
    "/d/x/spot-klines-BTCUSDT-1h-2024-10-28.zip": (None, "spot", "BTCUSDT", "1h"),
    "/d/spot/futures-um-klines-BTCUSDT-1h-2024-10-28.zip": (None, "perp", "BTCUSDT", "1h"),
    "/d/data/futures/um/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip": (None, "perp", "BTCUSDT", "1h"),
    "/d/data/futures/um/monthly/markPriceKlines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip": (
        None, "perp-mark", "BTCUSDT", "1h",
    ),
    "/d/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip": (None, "spot", "BTCUSDT", "1h"),
    "/d/okx/swap/BTC-USDT-SWAP-1h-2024-01.csv": ("okx", "perp", "BTC-USDT-SWAP", "1h"),
    "/d/s/binance_um_币安人生_USDT_1d.csv": ("binance", "perp", "币安人生_USDT", "1d"),
    "/d/s/binance_spot_SOLUSDT_5m_file_with_gap.csv": ("binance", "spot", "SOLUSDT", "5m"),
    "/d/s/okx_swap_BTC-USDT-SWAP_1h-mark.csv": ("okx", "perp-mark", "BTC-USDT-SWAP", "1h"),
    "/d/s/prices.csv": (None, None, None, None),
    "1h.parquet": (None, None, None, "1h"),
    "/d/BTCUSDT/1h.parquet": (None, None, None, "1h"),
}  # fmt: skip


@pytest.mark.parametrize("path", CASES)
def test_a_path_tells(path: str) -> None:
    assert parts_of_path(PurePath(path)) == NameParts(*CASES[path])


def test_a_member_counts_before_its_zip() -> None:
    parts = parts_of_path(PurePath("/d/spot/ETHUSDT-5m-2024-01.zip"), "deep/BTCUSDT-1h-2024-01.csv")
    assert parts == NameParts(None, "spot", "BTCUSDT", "1h")
    assert parts_of_path(PurePath("/d/spot/ETHUSDT-5m-2024-01.zip"), "data.csv").symbol == "ETHUSDT"


def test_there_are_no_marks_of_spot() -> None:
    with pytest.raises(BadData, match="mark prices of spot"):
        parts_of_path(PurePath("/d/binance/spot/BTCUSDT/1h-mark.parquet"))
