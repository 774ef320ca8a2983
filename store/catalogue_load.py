"""Loading the catalogue that comes with Curlew into the database, around what a user changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

import database as tables
from database import Database

_HASH_KEY = "catalogue_sha256"
_RETIRED_KEY = "catalogue_retired_groups"
_VERSION_KEY = "catalogue_version"

_FIELDS = (
    "name", "category", "binance_symbol", "okx_symbol", "hyperliquid_symbol",
    "coingecko_id", "market_cap_rank", "tags", "aliases",
)  # fmt: skip
_AMOUNTS = ("multiplier", "tick", "lot", "min_notional", "contract_size", "max_leverage")
_FIELD_OF = {
    ("binance", "spot"): "binance_symbol",
    ("okx", "spot"): "okx_symbol",
    ("hyperliquid", "perp"): "hyperliquid_symbol",
}


def load_catalogue(database: Database, path: Path, now_ms: int) -> bool:
    """Idempotent; False where this very file was loaded before."""
    raw = path.read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    with database.read() as session:
        if _workspace(session, _HASH_KEY) == digest:
            return False
    data = json.loads(raw)
    with database.write() as session:
        coins = _load_coins(session, data["coins"], now_ms)
        _load_instruments(session, data["instruments"], coins)
        _load_groups(session, data["groups"], coins)
        _set_workspace(session, _HASH_KEY, digest)
        note_change(session)
    return True


def catalogue_version(session: Session) -> int:
    """Counts the changes of coins and instruments, whichever process made them."""
    return int(_workspace(session, _VERSION_KEY) or 0)


def note_change(session: Session) -> None:
    """To be called in the transaction that changes coins or instruments."""
    _set_workspace(session, _VERSION_KEY, catalogue_version(session) + 1)


def retire_group(session: Session, name: str) -> None:
    retired = _workspace(session, _RETIRED_KEY) or []
    _set_workspace(session, _RETIRED_KEY, sorted({*retired, name}))


def _workspace(session: Session, key: str) -> Any:
    row = session.get(tables.WorkspaceValue, key)
    return None if row is None else row.value


def _set_workspace(session: Session, key: str, value: Any) -> None:
    row = session.get(tables.WorkspaceValue, key)
    if row is None:
        session.add(tables.WorkspaceValue(key=key, value=value))
    else:
        row.value = value


def _load_coins(session: Session, entries: list[dict[str, Any]], now_ms: int) -> dict[str, tables.Coin]:
    present = {row.symbol.casefold(): row for row in session.scalars(select(tables.Coin))}
    coins: dict[str, tables.Coin] = {}
    for entry in entries:
        values = {name: entry.get(name) for name in _FIELDS}
        values["tags"], values["aliases"] = entry.get("tags", []), entry.get("aliases", [])
        row = present.get(entry["symbol"].casefold())
        if row is None:
            row = tables.Coin(symbol=entry["symbol"], **values, edited=[], created_ms=now_ms)
            session.add(row)
        else:
            for name, value in values.items():
                if name not in row.edited and getattr(row, name) != value:
                    setattr(row, name, value)
        coins[entry["symbol"]] = row
    session.flush()
    return coins


def _load_instruments(session: Session, entries: list[dict[str, Any]], coins: Mapping[str, tables.Coin]) -> None:
    present = {(row.venue, row.market, row.symbol): row for row in session.scalars(select(tables.Instrument))}
    new: list[dict[str, Any]] = []
    for entry in entries:
        coin = coins[entry["coin"]]
        place = entry["venue"], entry["market"]
        if _FIELD_OF.get(place) in coin.edited:
            continue  # the user says what this venue calls the coin
        values: dict[str, Any] = {
            name: None if entry.get(name) is None else Decimal(str(entry[name])) for name in _AMOUNTS
        }
        values["multiplier"] = values["multiplier"] or Decimal(1)
        values["contract_size"] = values["contract_size"] or Decimal(1)
        values["tiers"] = entry.get("tiers", [])
        row = present.get((*place, entry["symbol"]))
        if row is None:
            new.append({"coin_id": coin.id, "venue": place[0], "market": place[1], "symbol": entry["symbol"], **values})
        elif row.coin_id == coin.id:  # else it is another coin's now, because a user said so
            for name, value in values.items():
                if getattr(row, name) != value:
                    setattr(row, name, value)
    if new:
        session.execute(insert(tables.Instrument), new)
    session.flush()


def _load_groups(session: Session, entries: list[dict[str, Any]], coins: Mapping[str, tables.Coin]) -> None:
    present = {row.name.casefold(): row for row in session.scalars(select(tables.CoinGroup))}
    retired = set(_workspace(session, _RETIRED_KEY) or [])
    for entry in entries:
        row = present.get(entry["name"].casefold())
        if row is None:
            if entry["name"] in retired:
                continue
            row = tables.CoinGroup(name=entry["name"], description=entry["description"], is_builtin=True)
            session.add(row)
        elif row.edited:
            continue
        else:
            row.description = entry["description"]
        session.flush()
        session.execute(delete(tables.CoinGroupMember).where(tables.CoinGroupMember.group_id == row.id))
        for order, symbol in enumerate(entry["coins"]):
            session.add(tables.CoinGroupMember(group_id=row.id, coin_id=coins[symbol].id, sort_order=order))
    session.flush()


def packaged_coins(path: Path) -> list[tuple[str, str | None, int | None]]:
    """(symbol, category, market cap rank) of each coin as it comes with Curlew, whatever a user changed."""
    coins = json.loads(path.read_text(encoding="utf-8"))["coins"]
    return [(coin["symbol"], coin.get("category"), coin.get("market_cap_rank")) for coin in coins]
