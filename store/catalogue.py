"""Coins, groups of coins, and what each venue calls them.

The catalogue that comes with Curlew is loaded into the database and belongs to the user from then on:
loading it again adds what is new and leaves alone what somebody changed (`edited`).
"""

from __future__ import annotations

import threading
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, selectinload

import database as tables
from database import Database
from domain.errors import Conflict, InvalidValue, NotFound
from domain.market import Instrument, MaintenanceTier
from store.catalogue_load import catalogue_version, load_catalogue, note_change, retire_group

DATA_FILE = Path(__file__).with_name("catalogue_data.json")

# What a caller may set on a coin.
COIN_FIELDS = (
    "symbol", "name", "category", "is_active", "binance_symbol", "okx_symbol", "hyperliquid_symbol",
    "coingecko_id", "market_cap_rank", "notes", "tags",
)  # fmt: skip

# A coin's own symbol fields name one instrument each; the perpetuals of the other venues come with the catalogue.
SYMBOL_FIELDS = {
    "binance_symbol": ("binance", "spot"),
    "okx_symbol": ("okx", "spot"),
    "hyperliquid_symbol": ("hyperliquid", "perp"),
}

SIMULATED = "simulated"
_SIMULATED_QUOTE = "USDT"
_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "USD")
_SEPARATORS = "-/_:"

# Another process (a flask command) may write too; its changes are seen this much later at most.
_CACHE_S = 2.0


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that a coin had until a day ("2024-09-10", UTC), one old unit being one new."""

    symbol: str
    until_date: str


@dataclass(frozen=True, slots=True)
class Coin:
    id: int
    symbol: str
    name: str
    category: str | None
    is_active: bool
    binance_symbol: str | None
    okx_symbol: str | None
    hyperliquid_symbol: str | None
    coingecko_id: str | None
    market_cap_rank: int | None
    notes: str
    tags: tuple[str, ...]
    aliases: tuple[Alias, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """`coins` are the members in their order, `sort_orders` what that order follows."""

    id: int
    name: str
    description: str
    is_builtin: bool
    coins: tuple[Coin, ...]
    sort_orders: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """Everything that lookups need, so that a quote costs no query."""

    version: int
    coins: tuple[Coin, ...]
    instruments: tuple[Instrument, ...]
    by_name: Mapping[str, Coin]
    by_symbol: Mapping[tuple[str, str, str], Instrument]
    by_coin: Mapping[tuple[str, str, str], Instrument]
    aliases: Mapping[str, Coin] = field(default_factory=dict)


def _to_coin(row: tables.Coin) -> Coin:
    return Coin(
        id=row.id,
        symbol=row.symbol,
        name=row.name,
        category=row.category,
        is_active=row.is_active,
        binance_symbol=row.binance_symbol,
        okx_symbol=row.okx_symbol,
        hyperliquid_symbol=row.hyperliquid_symbol,
        coingecko_id=row.coingecko_id,
        market_cap_rank=row.market_cap_rank,
        notes=row.notes,
        tags=tuple(row.tags),
        aliases=tuple(Alias(**alias) for alias in row.aliases),
    )


def _to_instrument(row: tables.Instrument, coin: str) -> Instrument:
    def number(value: Any) -> float | None:
        return None if value is None else float(value)

    return Instrument(
        coin=coin,
        venue=row.venue,
        market=row.market,
        symbol=row.symbol,
        tick=number(row.tick),
        lot=number(row.lot),
        min_notional=number(row.min_notional),
        contract_size=float(row.contract_size),
        multiplier=float(row.multiplier),
        max_leverage=number(row.max_leverage),
        tiers=tuple(MaintenanceTier(**tier) for tier in row.tiers),
    )


def _rank(coin: Coin) -> tuple[bool, int, str]:
    return coin.market_cap_rank is None, coin.market_cap_rank or 0, coin.symbol


def check_symbol(symbol: str) -> None:
    """InvalidValue unless it is 1 to 20 letters, digits, dots, hyphens or underscores of any script."""
    fits = 1 <= len(symbol) <= 20 and all(_is_of_a_word(mark) or mark in ".-_" for mark in symbol)
    if not fits or not any(mark.isalnum() for mark in symbol):
        raise InvalidValue("a symbol is 1 to 20 letters, digits, '.', '-' or '_' of any script", field="symbol")


def _is_of_a_word(mark: str) -> bool:
    # Many scripts write vowels and tones as marks of their own (category M): Thai, Devanagari.
    return mark.isalnum() or unicodedata.category(mark).startswith("M")


class Catalogue:
    """Coins and groups in the database. Thread-safe; lookups are answered from memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._cached: _Snapshot | None = None
        self._cached_at = 0.0

    # -- looking up -----------------------------------------------------------------------

    def _snapshot(self) -> _Snapshot:
        with self._lock:
            if self._cached is None or time.monotonic() - self._cached_at > _CACHE_S:
                self._cached = self._refreshed()
                self._cached_at = time.monotonic()
            return self._cached

    def _refreshed(self) -> _Snapshot:
        with self._database.read() as session:
            version = catalogue_version(session)
        if self._cached is not None and self._cached.version == version:
            return self._cached
        return self._read_all()

    def _forget(self) -> None:
        with self._lock:
            self._cached = None

    def _read_all(self) -> _Snapshot:
        with self._database.read() as session:
            version = catalogue_version(session)
            rows = {row.id: _to_coin(row) for row in session.scalars(select(tables.Coin))}
            found = [
                _to_instrument(row, rows[row.coin_id].symbol)
                for row in session.scalars(select(tables.Instrument).order_by(tables.Instrument.id))
            ]
        coins = tuple(sorted(rows.values(), key=_rank))
        return _Snapshot(
            version=version,
            coins=coins,
            instruments=tuple(found),
            by_name={coin.symbol.casefold(): coin for coin in coins},
            by_symbol={(each.venue, each.market, each.symbol): each for each in found},
            # The first listed counts where a venue lists a coin twice in one market.
            by_coin={(each.coin, each.venue, each.market): each for each in reversed(found)},
            aliases={alias.symbol.casefold(): coin for coin in coins for alias in coin.aliases},
        )

    def list_coins(
        self, category: str | None = None, is_active: bool | None = True, q: str | None = None
    ) -> list[Coin]:
        """By market cap rank, then symbol. `is_active` None: all. `q`: part of the symbol or the name."""
        wanted = (q or "").strip().casefold()
        return [
            coin
            for coin in self._snapshot().coins
            if (is_active is None or coin.is_active == is_active)
            and (category is None or coin.category == category)
            and (wanted in coin.symbol.casefold() or wanted in coin.name.casefold())
        ]

    def get(self, coin_id: int) -> Coin:
        with self._database.read() as session:
            return _to_coin(_find(session, coin_id))

    def parse_coin(self, text: str) -> Coin:
        """The coin meant by BTC, btc, BTCUSDT, BTC-USDT, BTC/USDT, BTC-USDT-SWAP, 1000SHIBUSDT or an old name."""
        known = self._snapshot()
        for name in _readings(text.strip()):
            coin = known.by_name.get(name.casefold()) or known.aliases.get(name.casefold())
            if coin is not None:
                return coin
        for instrument in known.instruments:
            if instrument.symbol.casefold() == text.strip().casefold():
                return known.by_name[instrument.coin.casefold()]
        raise NotFound(f"there is no coin '{text[:40]}'; add it on the Coins page", field="coin")

    def instruments(
        self, venue: str | None = None, market: str | None = None, coin: str | None = None
    ) -> list[Instrument]:
        """What the venues list, as far as the catalogue knows; `coin` is a symbol."""
        return [
            each
            for each in self._snapshot().instruments
            if venue in (None, each.venue) and market in (None, each.market) and coin in (None, each.coin)
        ]

    def instrument(self, coin_symbol: str, venue: str, market: str) -> Instrument | None:
        """A coin's instrument; marks are those of the perpetual. The simulated venue lists every coin."""
        if venue == SIMULATED:
            return Instrument(coin_symbol, SIMULATED, market, coin_symbol + _SIMULATED_QUOTE)
        traded = market.removesuffix("-mark")
        return self._snapshot().by_coin.get((coin_symbol, venue, traded))

    def symbol_for(self, coin_symbol: str, venue: str, market: str) -> str | None:
        """What `venue` calls the coin in `market`; None where it does not list it."""
        found = self.instrument(coin_symbol, venue, market)
        return found.symbol if found else None

    def coin_for(self, venue: str, market: str, symbol: str) -> str | None:
        """Symbol of the coin behind a venue's symbol, by an old name too; None where nobody knows."""
        known = self._snapshot()
        found = known.by_symbol.get((venue, market.removesuffix("-mark"), symbol))
        if found is not None:
            return found.coin
        for name in _readings(symbol)[1:]:
            coin = known.aliases.get(name.casefold()) or (known.by_name.get(name.casefold()))
            if coin is not None:
                return coin.symbol
        return None

    # -- changing coins -------------------------------------------------------------------

    def create(self, values: Mapping[str, Any], *, now_ms: int) -> Coin:
        """A coin of the user's own from COIN_FIELDS; Conflict where the symbol is taken, in capitals or not."""
        symbol = str(values["symbol"])
        check_symbol(symbol)
        with self._database.write() as session:
            for taken, is_active in session.execute(select(tables.Coin.symbol, tables.Coin.is_active)):
                if taken.casefold() == symbol.casefold():
                    hint = "" if is_active else " and is inactive: reactivate it"
                    raise Conflict(f"the coin {taken} is already there{hint}", field="symbol")
            given = {name: value for name, value in values.items() if name in COIN_FIELDS}
            given["tags"] = list(given.get("tags") or ())
            coin = tables.Coin(**given, aliases=[], edited=sorted(given), created_ms=now_ms)
            session.add(coin)
            session.flush()
            _sync_instruments(session, coin, [name for name in SYMBOL_FIELDS if name in given])
            note_change(session)
            made = _to_coin(coin)
        self._forget()
        return made

    def update(self, coin_id: int, values: Mapping[str, Any]) -> Coin:
        """Sets the named COIN_FIELDS; the symbol itself stays, because accounts and candles hang on it."""
        with self._database.write() as session:
            coin = _find(session, coin_id)
            if values.get("symbol", coin.symbol) != coin.symbol:
                raise InvalidValue("a symbol cannot be changed; add another coin instead", field="symbol")
            given = {name: value for name, value in values.items() if name in COIN_FIELDS and name != "symbol"}
            if "tags" in given:
                given["tags"] = list(given["tags"])
            changed = [name for name, value in given.items() if getattr(coin, name) != value]
            for name in changed:
                setattr(coin, name, given[name])
            coin.edited = sorted({*coin.edited, *changed})
            _sync_instruments(session, coin, [name for name in SYMBOL_FIELDS if name in changed])
            note_change(session)
            made = _to_coin(coin)
        self._forget()
        return made

    def deactivate(self, coin_id: int) -> Coin:
        """Hides it; what was traded and stored under its name stays readable."""
        return self.update(coin_id, {"is_active": False})

    # -- groups ---------------------------------------------------------------------------

    def list_groups(self) -> list[Group]:
        """In the order of their making, the catalogue's first."""
        with self._database.read() as session:
            rows = session.scalars(_groups_query().order_by(tables.CoinGroup.id)).all()
            return [_to_group(row) for row in rows]

    def get_group(self, group_id: int) -> Group:
        with self._database.read() as session:
            return _to_group(_find_group(session, group_id))

    def create_group(self, name: str, description: str = "", coin_ids: Sequence[int] = ()) -> Group:
        with self._database.write() as session:
            _check_group_name(session, name)
            group = tables.CoinGroup(name=name, description=description, edited=True)
            session.add(group)
            session.flush()
            _set_members(session, group, coin_ids)
            return _to_group(_find_group(session, group.id))

    def update_group(self, group_id: int, values: Mapping[str, Any]) -> Group:
        """`values`: name, description, and `coin_ids` in order (replaces all members)."""
        with self._database.write() as session:
            group = _find_group(session, group_id)
            if "name" in values and values["name"] != group.name:
                _check_group_name(session, values["name"], but=group.id)
                _retire(session, group)
                group.name = values["name"]
            if "description" in values:
                group.description = values["description"]
            if "coin_ids" in values:
                _set_members(session, group, values["coin_ids"])
            group.edited = True
            session.flush()
            return _to_group(_find_group(session, group_id))

    def delete_group(self, group_id: int) -> None:
        with self._database.write() as session:
            group = _find_group(session, group_id)
            _retire(session, group)
            session.delete(group)

    def put_member(self, group_id: int, coin_id: int, sort_order: int | None = None) -> Group:
        """Adds the coin, or moves it; without a `sort_order` a new one goes last and an old one stays."""
        with self._database.write() as session:
            group = _find_group(session, group_id)
            coin = _find(session, coin_id)
            member = next((each for each in group.members if each.coin_id == coin_id), None)
            if member is None:
                last = max((each.sort_order for each in group.members), default=-1)
                order = last + 1 if sort_order is None else sort_order
                session.add(tables.CoinGroupMember(group_id=group_id, coin_id=coin.id, sort_order=order))
            elif sort_order is not None:
                member.sort_order = sort_order
            group.edited = True
            session.flush()
            session.expire(group, ["members"])
            return _to_group(_find_group(session, group_id))

    def remove_member(self, group_id: int, coin_id: int) -> Group:
        with self._database.write() as session:
            group = _find_group(session, group_id)
            member = next((each for each in group.members if each.coin_id == coin_id), None)
            if member is None:
                raise NotFound(f"the coin {coin_id} is not in the group {group.name}")
            group.members.remove(member)
            group.edited = True
            session.flush()
            return _to_group(group)

    # -- what comes with Curlew -----------------------------------------------------------

    def load(self, path: Path = DATA_FILE, *, now_ms: int = 0) -> bool:
        """Adds and refreshes what comes with Curlew, except what a user changed. False where nothing is new."""
        has_changed = load_catalogue(self._database, path, now_ms)
        if has_changed:
            self._forget()
        return has_changed


def _readings(text: str) -> list[str]:
    """What a coin may be called in `text`: itself, then without its quote currency."""
    names = [text]
    for mark in _SEPARATORS:
        head = text.split(mark, 1)[0]
        if head != text:
            names.append(head)
    names += [text[: -len(quote)] for quote in _QUOTES if text.upper().endswith(quote)]
    return [name for name in dict.fromkeys(names) if name]


def _find(session: Session, coin_id: int) -> tables.Coin:
    coin = session.get(tables.Coin, coin_id)
    if coin is None:
        raise NotFound(f"there is no coin with the id {coin_id}")
    return coin


def _sync_instruments(session: Session, coin: tables.Coin, names: Iterable[str]) -> None:
    """Makes the instruments follow the coin's own symbol fields."""
    for name in names:
        venue, market = SYMBOL_FIELDS[name]
        symbol = getattr(coin, name)
        mine = select(tables.Instrument).where(
            tables.Instrument.coin_id == coin.id, tables.Instrument.venue == venue, tables.Instrument.market == market
        )
        old = session.scalars(mine).all()
        for each in old:
            if each.symbol != symbol:
                session.delete(each)
        session.flush()
        if symbol is None or any(each.symbol == symbol for each in old):
            continue
        taken = session.scalars(
            select(tables.Instrument).where(
                tables.Instrument.venue == venue,
                tables.Instrument.market == market,
                tables.Instrument.symbol == symbol,
            )
        ).first()
        if taken is not None:
            raise Conflict(f"{symbol} on {venue} already belongs to another coin", field=name)
        session.add(tables.Instrument(coin_id=coin.id, venue=venue, market=market, symbol=symbol, tiers=[]))


def _groups_query() -> Any:
    members = selectinload(tables.CoinGroup.members)
    return select(tables.CoinGroup).options(members.joinedload(tables.CoinGroupMember.coin))


def _find_group(session: Session, group_id: int) -> tables.CoinGroup:
    found: tables.CoinGroup | None = session.scalars(
        _groups_query().where(tables.CoinGroup.id == group_id)
    ).one_or_none()
    if found is None:
        raise NotFound(f"there is no coin group with the id {group_id}")
    return found


def _to_group(row: tables.CoinGroup) -> Group:
    members = sorted(row.members, key=lambda member: (member.sort_order, member.coin_id))
    return Group(
        id=row.id,
        name=row.name,
        description=row.description,
        is_builtin=row.is_builtin,
        coins=tuple(_to_coin(member.coin) for member in members),
        sort_orders=tuple(member.sort_order for member in members),
    )


def _check_group_name(session: Session, name: str, but: int | None = None) -> None:
    same = select(tables.CoinGroup.id).where(func.lower(tables.CoinGroup.name) == name.lower())
    if any(found != but for found in session.scalars(same)):
        raise Conflict(f"there already is a group called {name}", field="name")


def _set_members(session: Session, group: tables.CoinGroup, coin_ids: Sequence[int]) -> None:
    if len(set(coin_ids)) != len(coin_ids):
        raise InvalidValue("a coin is named twice", field="coins")
    for coin_id in coin_ids:
        _find(session, coin_id)
    session.execute(delete(tables.CoinGroupMember).where(tables.CoinGroupMember.group_id == group.id))
    for order, coin_id in enumerate(coin_ids):
        session.add(tables.CoinGroupMember(group_id=group.id, coin_id=coin_id, sort_order=order))
    session.flush()
    session.expire(group, ["members"])


def _retire(session: Session, group: tables.CoinGroup) -> None:
    """Remembers that a group of the catalogue was renamed or removed, so that loading does not bring it back."""
    if group.is_builtin:
        retire_group(session, group.name)
        group.is_builtin = False
