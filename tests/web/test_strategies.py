"""/api/strategies through HTTP."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.rule_sets import condition, group, rule_set

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

RULES = {
    **rule_set(
        buy=[group(condition("MA", "golden_cross"))],
        sell=[group(condition("MA", "death_cross"), condition("RSI", "overbought"), logic="OR")],
    ),
    "name": "mine",
}


@pytest.fixture
def small_app(make_small_app: Callable[..., Flask]) -> Flask:
    from strategies.store import StrategyStore

    app = make_small_app()
    services = app.extensions["curlew"]
    services.strategies = StrategyStore(services.database)
    services.strategies.seed_builtin(now_ms=services.clock.now_ms())
    return app


def add_follower(app: Flask, strategy_id: int, name: str) -> None:
    from database import Model

    with app.extensions["curlew"].database.write() as session:
        session.add(
            Model(
                name=name, kind="rules", workspace_market="simulated", initial_capital=Decimal(1000),
                interval_seconds=60, interval="1h", trade_fee_rate=0.001, strategy_id=strategy_id,
                settled_ms=0, created_ms=0,
            )
        )  # fmt: skip


def test_a_strategy_from_birth_to_death(web: FlaskClient) -> None:
    made = web.post("/api/strategies", json={**RULES, "description": " why "})
    assert made.status_code == 201
    row = made.get_json()
    assert row["name"] == "mine"
    assert row["description"] == "why"
    assert row["direction"] == "long"
    assert row["buy_groups"] == [{"logic": "AND", "conditions": [condition("MA", "golden_cross", fast=20, slow=60)]}]
    assert row["sell_groups"][0]["logic"] == "OR"
    assert (row["is_builtin"], row["edited"], row["used_by"]) == (False, False, [])
    assert row["created_at"] == row["updated_at"] == 1_704_067_200_000

    at = f"/api/strategies/{row['id']}"
    assert web.get(at).get_json() == row
    assert web.get("/api/strategies").get_json()[-1] == row

    changed = web.put(at, json={"direction": "both", "sell_groups": []})
    assert changed.status_code == 200
    assert changed.get_json() == {**row, "direction": "both", "sell_groups": []}

    gone = web.delete(at)
    assert (gone.status_code, gone.data) == (204, b"")
    assert web.get(at).status_code == 404
    assert web.delete(at).status_code == 404
    assert web.put(at, json={}).status_code == 404


def test_names_are_unique(web: FlaskClient) -> None:
    first = web.post("/api/strategies", json=RULES).get_json()
    again = web.post("/api/strategies", json=RULES)
    assert again.status_code == 409
    assert again.get_json()["field"] == "name"
    assert "another name" in again.get_json()["error"]
    other = web.post("/api/strategies", json={**RULES, "name": "other"}).get_json()
    clash = web.put(f"/api/strategies/{other['id']}", json={"name": "mine"})
    assert (clash.status_code, clash.get_json()["field"]) == (409, "name")
    assert web.put(f"/api/strategies/{first['id']}", json={"name": "mine"}).status_code == 200


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": 5}, "name"),
    ({"colour": "red"}, "colour"),
    ({"description": 5}, "description"),
    ({"description": "x" * 2001}, "description"),
    ({"direction": None}, "direction"),
    (
        {"buy_groups": [group(condition("RSI", "oversold"), condition("RSI", "oversold", period=0))]},
        "buy_groups.0.conditions.1.params.period",
    ),
    ({"sell_groups": [group(condition("RSI", "golden_cross"))]}, "sell_groups.0.conditions.0.signal_type"),
    ({"sell_groups": [group()]}, "sell_groups.0.conditions"),
]


def test_wrong_fields_are_named(web: FlaskClient) -> None:
    stored = web.post("/api/strategies", json={**RULES, "name": "stored"}).get_json()
    for changes, field in WRONG:
        made = web.post("/api/strategies", json={**RULES, **changes})
        assert (made.status_code, made.get_json()["field"]) == (422, field)
        changed = web.put(f"/api/strategies/{stored['id']}", json=changes)
        assert (changed.status_code, changed.get_json()["field"]) == (422, field)
    assert web.get(f"/api/strategies/{stored['id']}").get_json() == stored


def test_bodies_that_are_no_objects(web: FlaskClient) -> None:
    assert web.post("/api/strategies", json=[]).status_code == 422
    assert web.post("/api/strategies").status_code == 400
    assert web.post("/api/strategies", data="{", content_type="application/json").status_code == 400
    missing = web.post("/api/strategies", json={})
    assert (missing.status_code, missing.get_json()["field"]) == (422, "name")


def test_built_in_strategies_can_be_edited_but_neither_renamed_nor_deleted(web: FlaskClient) -> None:
    rows = web.get("/api/strategies").get_json()
    assert [row["is_builtin"] for row in rows] == [True] * 6
    at = f"/api/strategies/{rows[0]['id']}"
    deleted = web.delete(at)
    assert deleted.status_code == 409
    assert "built in" in deleted.get_json()["error"]
    renamed = web.put(at, json={"name": "mine"})
    assert (renamed.status_code, renamed.get_json()["field"]) == (409, "name")
    edited = web.put(at, json={"direction": "both"}).get_json()
    assert (edited["direction"], edited["edited"], edited["name"]) == ("both", True, rows[0]["name"])


def test_a_strategy_in_use_is_kept(web: FlaskClient, small_app: Flask) -> None:
    row = web.post("/api/strategies", json=RULES).get_json()
    add_follower(small_app, row["id"], "trend on BTC")
    at = f"/api/strategies/{row['id']}"
    assert web.get(at).get_json()["used_by"] == ["trend on BTC"]
    refused = web.delete(at)
    assert refused.status_code == 409
    assert "'trend on BTC'" in refused.get_json()["error"]
    assert web.get(at).status_code == 200


def test_the_schema_serves_an_editor(web: FlaskClient) -> None:
    schema = web.get("/api/strategies/schema").get_json()
    assert schema["properties"]["direction"]["enum"] == ["long", "short", "both"]
    rsi = schema["$defs"]["RSI"]
    assert rsi["properties"]["params"]["properties"]["period"]["default"] == 14
    oversold = next(each for each in rsi["properties"]["signal_type"]["oneOf"] if each["const"] == "oversold")
    assert oversold["title"] == "Oversold"
    assert oversold["x-params"] == ["period", "low"]


def test_every_answer_fits_the_model_that_documents_it(web: FlaskClient) -> None:
    from web.api.strategies import StrategyRow

    for row in web.get("/api/strategies").get_json():
        StrategyRow.model_validate(row, strict=True)
