"""From a coin to the series that holds its candles or its funding, by the catalogue and by convention."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain.errors import InvalidValue
from domain.market import Instrument, SeriesKey, parse_market

if TYPE_CHECKING:
    from store.candles import CandleStore, SeriesInfo
    from store.catalogue import Catalogue
    from store.funding import FundingStore

# How venues write a coin against a dollar, most usual first; {} is the coin.
SYMBOL_FORMS = (
    "{}USDT", "{}-USDT", "{}-USDT-SWAP", "{}", "{}/USDT", "{}_USDT", "{}USDC", "{}-USDC", "{}_USDC", "{}FDUSD",
    "{}BUSD", "{}-USDC-SWAP", "1000{}USDT", "k{}", "U{}_USDC",
)  # fmt: skip
_DOLLAR = re.compile(r"^(?:1000)?(?P<coin>.+?)[-_/]?(?:USDT|USDC|FDUSD|BUSD)(?:-SWAP)?$")
# Candles that may be traded on, where a request names no venue and market.
TRADED = ("spot", "perp")
DEFAULT_PLACE = ("binance", "spot")


@dataclass(frozen=True, slots=True)
class CoinSeries:
    """A stored series that can be traded on, with the name of its coin."""

    coin: str
    name: str
    info: SeriesInfo


class SeriesLookup:
    """Which stored series belongs to a coin. A series needs no coin in the catalogue. Thread-safe."""

    def __init__(self, catalogue: Catalogue, candles: CandleStore, funding: FundingStore) -> None:
        self._catalogue = catalogue
        self._candles = candles
        self._funding = funding

    def coin_names(self, coins: Sequence[str]) -> tuple[str, ...]:
        """The coins as asked, spelt as in the catalogue where they are in it; InvalidValue for one named twice."""
        spelling = {coin.symbol.casefold(): coin.symbol for coin in self._catalogue.list_coins(is_active=None)}
        names: list[str] = []
        for index, asked in enumerate(coins):
            name = spelling.get(asked.strip().casefold(), asked.strip())
            if not name:
                raise InvalidValue("a coin's name is empty", field=f"coins.{index}")
            if name in names:
                raise InvalidValue(f"{name} is named twice", field=f"coins.{index}")
            names.append(name)
        return tuple(names)

    def find(self, coin: str, venue: str, market: str, interval: str) -> SeriesKey | None:
        """The stored series of `coin` there, or None."""
        for symbol in self._symbols(coin, venue, market):
            key = SeriesKey(venue, market, symbol, interval)
            if self._candles.info(key) is not None:
                return key
        return None

    def place(self, coins: Sequence[str], interval: str, venue: str | None, market: str | None) -> tuple[str, str]:
        """Venue and market as asked; where silent the only ones stored for all coins, else binance spot."""
        market = parse_market(market) if market else None
        if venue and market:
            return venue, market
        stored = {(i.key.venue, i.key.market) for i in self._candles.list() if i.key.interval == interval}
        fitting = sorted(
            place
            for place in stored
            if place[1] in TRADED and place[0] == (venue or place[0]) and place[1] == (market or place[1])
        )
        complete = [place for place in fitting if all(self.find(coin, *place, interval) for coin in coins)]
        if len(complete) == 1:
            return complete[0]
        return venue or DEFAULT_PLACE[0], market or DEFAULT_PLACE[1]

    def tradable(self) -> list[CoinSeries]:
        """Every stored series of traded prices, with its coin's symbol and name, ordered by coin."""
        names = {coin.symbol: coin.name for coin in self._catalogue.list_coins(is_active=None)}
        found = []
        for info in self._candles.list():
            if info.key.market in TRADED:
                coin = self._coin_of(info.key)
                found.append(CoinSeries(coin, names.get(coin, coin), info))
        return sorted(found, key=lambda series: (series.coin, series.info.key))

    def funding_symbol(self, coin: str, key: SeriesKey) -> str | None:
        """The symbol under which the funding of the coin's perpetual on this venue is stored, or None."""
        stored = {info.symbol for info in self._funding.list() if info.venue == key.venue}
        candidates = (key.symbol, *self._symbols(coin, key.venue, "perp"))
        return next((symbol for symbol in candidates if symbol in stored), None)

    def instrument(self, coin: str, key: SeriesKey) -> Instrument | None:
        """What the catalogue knows of the coin's instrument there: leverage, tiers, tick, lot."""
        return self._catalogue.instrument(coin, key.venue, key.market)

    def _symbols(self, coin: str, venue: str, market: str) -> Iterable[str]:
        listed = self._catalogue.symbol_for(coin, venue, market)
        if listed:
            yield listed
        known = next((each for each in self._catalogue.list_coins(is_active=None) if each.symbol == coin), None)
        # The candles of a renamed coin may be stored under its old name.
        for name in (coin, *(alias.symbol for alias in (known.aliases if known else ()))):
            yield from (form.format(name) for form in SYMBOL_FORMS)

    def _coin_of(self, key: SeriesKey) -> str:
        listed = self._catalogue.coin_for(key.venue, key.market, key.symbol)
        if listed is not None and self.find(listed, key.venue, key.market, key.interval) == key:
            return listed
        quoted = _DOLLAR.match(key.symbol)
        return quoted["coin"] if quoted else key.symbol
