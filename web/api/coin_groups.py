"""/api/coin-groups: named lists of coins, in an order."""

from __future__ import annotations

from typing import Annotated

from flask import Response
from pydantic import Field

from domain.errors import InvalidValue
from runtime.services import services
from store.catalogue import Group
from web.answers import render, render_nothing
from web.openapi import api_blueprint, documented
from web.parsing import body
from web.schemas import Answer, Body, CoinSymbol, Id, Name

bp = api_blueprint("coin-groups")

# The column has 32 bits on PostgreSQL, and what is added last comes after the highest.
MOST_ORDER = 1_000_000_000

Members = Annotated[list[Id | CoinSymbol], Field(max_length=1000, description="Ids or symbols of coins, in order")]
Description = Annotated[str, Field(max_length=2000)]


class NewGroup(Body):
    name: Name
    description: Description = ""
    coins: Members = Field(default_factory=list)


class GroupChanges(Body):
    """Fields that are left out stay as they are; `coins` replaces all members."""

    name: Name = ""
    description: Description = ""
    coins: Members = Field(default_factory=list)


class Membership(Body):
    sort_order: int | None = Field(None, ge=-MOST_ORDER, le=MOST_ORDER, description="Left out: last, or where it is")


class Member(Answer):
    id: Id
    symbol: str
    name: str
    is_active: bool
    sort_order: int


class GroupRow(Answer):
    id: Id
    name: str
    description: str
    is_builtin: bool
    coins: list[Member]


def _row(group: Group) -> GroupRow:
    coins = [
        Member(id=coin.id, symbol=coin.symbol, name=coin.name, is_active=coin.is_active, sort_order=order)
        for coin, order in zip(group.coins, group.sort_orders, strict=True)
    ]
    return GroupRow(
        id=group.id, name=group.name, description=group.description, is_builtin=group.is_builtin, coins=coins
    )


def _coin_ids(members: list[int | str]) -> list[int]:
    """Ids, looked up where symbols were given; InvalidValue names the place of one that is not there."""
    known = services().catalogue.list_coins(is_active=None)
    by_symbol = {coin.symbol: coin.id for coin in known}
    ids = {coin.id for coin in known}
    found = []
    for place, member in enumerate(members):
        coin_id = by_symbol.get(member) if isinstance(member, str) else member
        if coin_id not in ids:
            raise InvalidValue(f"there is no coin {member}; add it first", field=f"coins.{place}")
        found.append(coin_id)
    return found


@bp.get("")
@documented(answer=list[GroupRow])
def list_groups() -> Response:
    """All groups, each with its coins in order."""
    return render([_row(group) for group in services().catalogue.list_groups()])


@bp.post("")
@documented(body=NewGroup, answer=GroupRow, status=201)
def create_group() -> Response:
    """Adds a group."""
    asked = body(NewGroup)
    group = services().catalogue.create_group(asked.name, asked.description, _coin_ids(asked.coins))
    return render(_row(group), 201)


@bp.get("/<int:group_id>")
@documented(answer=GroupRow)
def get_group(group_id: int) -> Response:
    """One group."""
    return render(_row(services().catalogue.get_group(group_id)))


@bp.put("/<int:group_id>")
@documented(body=GroupChanges, answer=GroupRow)
def change_group(group_id: int) -> Response:
    """Changes the fields named."""
    changes = body(GroupChanges).changes()
    if "coins" in changes:
        changes["coin_ids"] = _coin_ids(changes.pop("coins"))
    return render(_row(services().catalogue.update_group(group_id, changes)))


@bp.delete("/<int:group_id>")
@documented(answer=None, status=204)
def delete_group(group_id: int) -> Response:
    """Removes the group; its coins stay."""
    services().catalogue.delete_group(group_id)
    return render_nothing()


@bp.put("/<int:group_id>/coins/<int:coin_id>")
@documented(body=Membership, answer=GroupRow, is_body_optional=True)
def put_member(group_id: int, coin_id: int) -> Response:
    """Puts the coin into the group, or moves it."""
    asked = body(Membership)
    return render(_row(services().catalogue.put_member(group_id, coin_id, asked.sort_order)))


@bp.delete("/<int:group_id>/coins/<int:coin_id>")
@documented(answer=GroupRow)
def remove_member(group_id: int, coin_id: int) -> Response:
    """Takes the coin out of the group."""
    return render(_row(services().catalogue.remove_member(group_id, coin_id)))
