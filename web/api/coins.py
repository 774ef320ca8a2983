"""/api/coins: the catalogue's coins and the user's own."""

from __future__ import annotations

from typing import Annotated, Literal

from flask import Response
from pydantic import Field, StringConstraints

from runtime.services import services
from store.catalogue import Coin
from web.answers import render
from web.openapi import api_blueprint, documented
from web.parsing import body, query
from web.schemas import Answer, Body, CoinSymbol, Id, Name, Query

bp = api_blueprint("coins")

VenueSymbol = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^\S+$")]
ShortText = Annotated[str, StringConstraints(max_length=80)]
Rank = Annotated[int, Field(ge=1, le=1_000_000)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=40)]


class CoinFields(Body):
    """What can be said of a coin; a symbol of a venue is null where the venue does not list it."""

    category: ShortText | None = None
    is_active: bool = True
    binance_symbol: VenueSymbol | None = None
    okx_symbol: VenueSymbol | None = None
    hyperliquid_symbol: VenueSymbol | None = None
    coingecko_id: ShortText | None = None
    market_cap_rank: Rank | None = None
    notes: str = Field("", max_length=10_000)
    tags: list[Tag] = Field(default_factory=list, max_length=50)


class NewCoin(CoinFields):
    symbol: CoinSymbol
    name: Name


class CoinChanges(CoinFields):
    """Fields that are left out stay as they are."""

    symbol: CoinSymbol = ""
    name: Name = ""


class CoinRow(Answer):
    id: Id
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
    tags: list[str]


class CoinQuery(Query):
    category: str | None = None
    is_active: Literal["1", "0", "all"] = Field("1", description="1: active, 0: inactive, all: both")
    q: str | None = Field(None, description="Part of the symbol or the name")


def coin_row(coin: Coin) -> CoinRow:
    return CoinRow(
        **{name: getattr(coin, name) for name in CoinRow.model_fields if name != "tags"}, tags=list(coin.tags)
    )


@bp.get("")
@documented(query=CoinQuery, answer=list[CoinRow])
def list_coins() -> Response:
    """Coins by market cap rank, then symbol."""
    asked = query(CoinQuery)
    is_active = {"1": True, "0": False}.get(asked.is_active)
    found = services().catalogue.list_coins(asked.category, is_active, asked.q)
    return render([coin_row(coin) for coin in found])


@bp.post("")
@documented(body=NewCoin, answer=CoinRow, status=201)
def create_coin() -> Response:
    """Adds a coin."""
    asked = body(NewCoin)
    coin = services().catalogue.create(asked.changes(), now_ms=services().clock.now_ms())
    return render(coin_row(coin), 201)


@bp.get("/<int:coin_id>")
@documented(answer=CoinRow)
def get_coin(coin_id: int) -> Response:
    """One coin."""
    return render(coin_row(services().catalogue.get(coin_id)))


@bp.put("/<int:coin_id>")
@documented(body=CoinChanges, answer=CoinRow)
def change_coin(coin_id: int) -> Response:
    """Changes the fields named; `is_active: true` reactivates."""
    asked = body(CoinChanges)
    return render(coin_row(services().catalogue.update(coin_id, asked.changes())))


@bp.delete("/<int:coin_id>")
@documented(answer=CoinRow)
def deactivate_coin(coin_id: int) -> Response:
    """Deactivates the coin; what was traded and stored under its name stays."""
    return render(coin_row(services().catalogue.deactivate(coin_id)))
