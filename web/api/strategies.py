"""/api/strategies: rule sets with a name, and the schema that editors build their menus from."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from flask_babel import gettext as _
from pydantic import ConfigDict, Field

from runtime.services import services
from strategies.ruleset import MAX_CONDITIONS, MAX_GROUPS, MAX_NAME, json_schema
from strategies.store import MAX_DESCRIPTION, StoredStrategy
from web.answers import render, render_nothing
from web.openapi import api_blueprint, documented
from web.parsing import body
from web.schemas import Answer, Body, Id, Ms

bp = api_blueprint("strategies")


class ConditionFields(Body):
    indicator_type: str = Field(description="MA, EMA, MACD, ...: see /api/strategies/schema")
    signal_type: str = Field(description="A signal of that indicator")
    params: dict[str, Any] = Field(default_factory=dict, description="Defaults are filled in")


class GroupFields(Body):
    logic: Literal["AND", "OR"] = "AND"
    conditions: list[ConditionFields] = Field(min_length=1, max_length=MAX_CONDITIONS)


class StrategyChanges(Body):
    """Fields that are left out stay as they are. The groups of a side are replaced as a whole."""

    name: str = Field("", min_length=1, max_length=MAX_NAME)
    description: str = Field("", max_length=MAX_DESCRIPTION)
    direction: Literal["long", "short", "both"] = "long"
    buy_groups: list[GroupFields] = Field(default_factory=list, max_length=MAX_GROUPS)
    sell_groups: list[GroupFields] = Field(default_factory=list, max_length=MAX_GROUPS)


class NewStrategy(StrategyChanges):
    name: str = Field(min_length=1, max_length=MAX_NAME)


class _Given(Body):
    """The body as it came: a rule set has a validation of its own, which knows what an indicator may be."""

    model_config = ConfigDict(extra="allow")


class ConditionRow(Answer):
    indicator_type: str
    signal_type: str
    params: dict[str, Any]


class GroupRow(Answer):
    logic: Literal["AND", "OR"]
    conditions: list[ConditionRow]


class StrategyRow(Answer):
    id: Id
    name: str
    description: str
    direction: Literal["long", "short", "both"]
    buy_groups: list[GroupRow]
    sell_groups: list[GroupRow]
    is_builtin: bool
    edited: bool = Field(description="A built-in one that was changed here")
    used_by: list[str] = Field(description="Names of the models that follow it")
    created_at: Ms
    updated_at: Ms


class RuleSetSchema(Answer):
    """A JSON Schema (2020-12). Each condition is one of `$defs`, told apart by `indicator_type`."""

    model_config = ConfigDict(extra="allow")

    title: str
    properties: dict[str, Any]


def _given() -> dict[str, Any]:
    return dict(body(_Given).model_extra or {})


def _row(strategy: StoredStrategy) -> dict[str, Any]:
    # The texts of the built-in ones are in the catalogues of translations as long as they are ours.
    ours = strategy.is_builtin and not strategy.edited
    return {
        "id": strategy.id,
        **strategy.ruleset.to_dict(),
        "description": _(strategy.description) if ours else strategy.description,
        "is_builtin": strategy.is_builtin,
        "edited": strategy.edited,
        "used_by": list(strategy.used_by),
        "created_at": strategy.created_ms,
        "updated_at": strategy.updated_ms,
    }


@bp.get("")
@documented(answer=list[StrategyRow])
def list_strategies() -> Response:
    """The built-in ones first."""
    return render([_row(strategy) for strategy in services().strategies.list()])


@bp.post("")
@documented(body=NewStrategy, answer=StrategyRow, status=201)
def create_strategy() -> Response:
    """Stores a rule set under a name of its own."""
    strategy = services().strategies.create(_given(), now_ms=services().clock.now_ms())
    return render(_row(strategy), 201)


@bp.get("/schema")
@documented(answer=RuleSetSchema)
def rule_set_schema() -> Response:
    """JSON Schema of a rule set: every indicator, signal and parameter with its default, bounds and texts."""
    return render(json_schema(_))


@bp.get("/<int:strategy_id>")
@documented(answer=StrategyRow)
def get_strategy(strategy_id: int) -> Response:
    """One strategy."""
    return render(_row(services().strategies.get(strategy_id)))


@bp.put("/<int:strategy_id>")
@documented(body=StrategyChanges, answer=StrategyRow)
def change_strategy(strategy_id: int) -> Response:
    """Changes the fields named; models that follow it go by the new rules from their next bar on."""
    strategy = services().strategies.update(strategy_id, _given(), now_ms=services().clock.now_ms())
    return render(_row(strategy))


@bp.delete("/<int:strategy_id>")
@documented(status=204)
def delete_strategy(strategy_id: int) -> Response:
    """Deletes it, unless it is built in or a model follows it."""
    services().strategies.delete(strategy_id)
    return render_nothing()
