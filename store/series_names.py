"""What a file's path tells about the series in it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePath

from domain.errors import BadData, InvalidValue
from domain.market import MARKET_ALIASES, MARKETS, SeriesKey, parse_market
from domain.times import interval_ms

VENUES = ("binance", "okx", "hyperliquid", "simulated")

_INTERVAL = r"(?P<interval>\d+[a-zA-Z]{1,2})"
# spot-klines-BTCUSDT-1h-2024-10-28, BTCUSDT-1h-2024-12, BTC-USDT-SWAP-1h-mark
_DUMP = re.compile(
    r"(?:(?P<market>spot|futures-um|um)-klines-)?(?P<symbol>.+?)-" + _INTERVAL
    + r"(?P<mark>-mark)?(?:-\d{4}-\d{2}(?:-\d{2})?)?"
)  # fmt: skip
# binance_um_BTCUSDT_5m, binance_spot_SOLUSDT_1h_some-words
_FLAT = re.compile(
    r"(?P<venue>[a-z][a-z0-9]*)_(?P<market>spot|um|swap|perp)_(?P<symbol>.+?)_" + _INTERVAL
    + r"(?P<mark>-mark)?(?:_.*)?"
)  # fmt: skip
# 1h, 1h-mark, 1h_derived-from-5m
_BARE = re.compile(_INTERVAL + r"(?P<mark>-mark)?(?:_.*)?")
# Binance's own archive: data/futures/um/monthly/markPriceKlines/BTCUSDT/1h/...
_MARK_FOLDER = "markpriceklines"
_NO_PRICES = {
    "indexpriceklines": "index prices are not traded or marked prices",
    "premiumindexklines": "premium indexes are not prices",
    "cm": "coin-margined contracts are not supported",
}
_MARKET_FOLDERS = {*MARKETS, *MARKET_ALIASES, "futures-um"}


@dataclass(frozen=True, slots=True)
class NameParts:
    """What is known of a series; None where it is not."""

    venue: str | None = None
    market: str | None = None
    symbol: str | None = None
    interval: str | None = None

    def or_else(self, other: NameParts) -> NameParts:
        """These, and those of `other` where these are unknown."""
        return NameParts(
            self.venue or other.venue,
            self.market or other.market,
            self.symbol or other.symbol,
            self.interval or other.interval,
        )

    def key(self) -> SeriesKey:
        """BadData naming what is missing, InvalidValue for an unknown market or interval."""
        if not (self.venue and self.market and self.symbol and self.interval):
            names = ("venue", "market", "symbol", "interval")
            missing = [name for name in names if not getattr(self, name)]
            options = ", ".join(f"--{name}" for name in missing)
            raise BadData(f"the path does not tell its {', '.join(missing)}; say it ({options})")
        interval_ms(self.interval)
        return SeriesKey(self.venue, parse_market(self.market), self.symbol, self.interval)


def check_overrides(given: NameParts) -> NameParts:
    """The same with the venues' names for markets translated; InvalidValue for what cannot be."""
    if given.interval:
        interval_ms(given.interval)
    if given.venue and not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,19}", given.venue):
        raise InvalidValue(f"venue '{given.venue}' is not 1 to 20 small letters, digits, - or _", field="venue")
    return replace(given, market=parse_market(given.market)) if given.market else given


def parts_of_path(path: PurePath, member: str | None = None) -> NameParts:
    """Reads the layouts of the contract; `member` is the file inside a zip, whose name counts first.

    BadData where the folders say that the file holds something else than candles of ours.
    """
    folders = [part.lower() for part in path.parts[:-1]]
    for folder in folders:
        if folder in _NO_PRICES and _is_archive(folders, folder):
            raise BadData(f"folder {folder}: {_NO_PRICES[folder]}")
    market, venue = _market_and_venue(folders)
    if _MARK_FOLDER in folders:
        market = _marked(market or "perp")
    found = _from_stem(path, path.stem)
    if member is not None:
        found = _from_stem(path, PurePath(member).stem).or_else(found)
    return found.or_else(NameParts(venue, market)) if found.market else _with_folders(found, venue, market)


def _is_archive(folders: list[str], folder: str) -> bool:
    # "cm" alone may be anybody's folder; below futures/ or beside dumps of its kind it is Binance's.
    return folder != "cm" or "futures" in folders or folders[-1] == "cm"


def _market_and_venue(folders: list[str]) -> tuple[str | None, str | None]:
    for place in range(len(folders) - 1, -1, -1):
        if folders[place] in _MARKET_FOLDERS:
            venue = folders[place - 1] if place and folders[place - 1] in VENUES else None
            return parse_market(folders[place].removeprefix("futures-")), venue
    return None, next((folder for folder in reversed(folders) if folder in VENUES), None)


def _with_folders(found: NameParts, venue: str | None, market: str | None) -> NameParts:
    return NameParts(found.venue or venue, market, found.symbol, found.interval)


def _from_stem(path: PurePath, stem: str) -> NameParts:
    if match := _BARE.fullmatch(stem):
        return _from_folders(path, match)
    if match := _FLAT.fullmatch(stem):
        market = parse_market(match["market"])
        market = _marked(market) if match["mark"] else market
        return NameParts(match["venue"], market, match["symbol"], match["interval"])
    if match := _DUMP.fullmatch(stem):
        market_name = match["market"]
        market_of_name = parse_market(market_name.removeprefix("futures-")) if market_name else None
        if match["mark"]:
            market_of_name = _marked(market_of_name or "perp")
        return NameParts(None, market_of_name, match["symbol"], match["interval"])
    return NameParts()


def _from_folders(path: PurePath, match: re.Match[str]) -> NameParts:
    """VENUE/MARKET/SYMBOL/INTERVAL: the folders count by their places, any venue's name is taken."""
    folders = path.parts[:-1]
    if len(folders) < 3 or folders[-2].lower() not in _MARKET_FOLDERS:
        return NameParts(interval=match["interval"])
    market = parse_market(folders[-2].removeprefix("futures-"))
    market = _marked(market) if match["mark"] else market
    venue = folders[-3].lower()
    usable = re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,19}", venue)
    return NameParts(venue if usable else None, market, folders[-1], match["interval"])


def _marked(market: str) -> str:
    if market == "spot":
        raise BadData("there are no mark prices of spot")
    return "perp-mark"
