"""Routes of models: made, changed, executed, looked at; every refusal in words and with its field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from database import Base, Position
from runtime.services import Services


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    from app import create_app
    from config import Settings

    settings = Settings(data_dir=tmp_path_factory.mktemp("models"), market="simulated", _env_file=None)
    return create_app(settings)


@pytest.fixture
def client(application: Flask) -> FlaskClient:
    """A program; every model of an earlier test is gone."""
    found = application.test_client(use_cookies=False)
    for model in found.get("/api/models").json or []:
        assert found.delete(f"/api/models/{model['id']}").status_code == 204
    return found


@pytest.fixture
def services(application: Flask) -> Services:
    found: Services = application.extensions["curlew"]
    return found


def strategy_id(client: FlaskClient) -> int:
    return int(client.get("/api/strategies").json[0]["id"])  # type: ignore[index]


def make(client: FlaskClient, **values: Any) -> dict[str, Any]:
    given = {"name": "Hold", "kind": "hold", "coins": ["BTC", "ETH"], "status": "paused", **values}
    answer = client.post("/api/models", json=given)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json  # type: ignore[assignment]
    return made


def refused(client: FlaskClient, method: str, path: str, body: Any) -> tuple[int, str | None]:
    answer = client.open(path, method=method, json=body)
    assert answer.is_json, answer.text
    told: dict[str, Any] = answer.json  # type: ignore[assignment]
    assert told["error"]
    return answer.status_code, told.get("field")


# -- making and changing ------------------------------------------------------------------


def test_limits_can_be_sent_back_as_they_were_read(client: FlaskClient) -> None:
    made = make(client, kind="rules", strategy_id=strategy_id(client))
    assert b'"max_open_positions":3.0' in client.get(f"/api/models/{made['id']}").data
    body = json.dumps({"risk": {**made["risk"], "stop_loss_percent": 3}})
    answer = client.put(f"/api/models/{made['id']}", data=body, content_type="application/json")
    assert answer.status_code == 200, answer.text
    assert answer.json["risk"] == {**made["risk"], "stop_loss_percent": 3}  # type: ignore[index]
    wrong = {"risk": {"max_open_positions": 2.5}}
    assert refused(client, "PUT", f"/api/models/{made['id']}", wrong) == (422, "risk.max_open_positions")


def test_a_coin_joins_a_pool_by_any_of_its_names(client: FlaskClient) -> None:
    path = f"/api/models/{make(client, coins=[])['id']}/coins"
    ids = {coin["symbol"]: coin["id"] for coin in client.get("/api/coins").json or []}
    for given in ({"symbol": "BTC"}, {"id": ids["ETH"]}, {"coin_id": ids["SOL"]}):
        assert client.post(path, json=given).status_code == 201
    assert [coin["symbol"] for coin in client.get(path).json or []] == ["BTC", "ETH", "SOL"]


def test_silent_fields_have_the_contracts_defaults(client: FlaskClient) -> None:
    made = make(client, status="running", kind="rules", strategy_id=strategy_id(client))
    for name, value in {
        "status": "running", "market": "perp", "initial_capital": 10_000.0, "leverage": 1.0, "trade_fee_rate": 0.001,
        "slippage_bps": 0.0, "coins": ["BTC", "ETH"], "workspace_market": "simulated",
    }.items():  # fmt: skip
        assert made[name] == value
    assert made["risk"]["max_position_size_percent"] == 20
    assert client.get(f"/api/models/{made['id']}").json["id"] == made["id"]  # type: ignore[index]
    assert [m["id"] for m in client.get("/api/models").json] == [made["id"]]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("values", "status", "field"),
    [
        ({"name": ""}, 422, "name"),
        ({"kind": "martingale"}, 422, "kind"),
        ({"kind": "llm"}, 422, "kind"),
        ({"kind": "team"}, 422, "kind"),
        ({"kind": "grid"}, 422, "kind"),
        ({"kind": "rules"}, 422, "strategy_id"),
        ({"kind": "rules", "strategy_id": 999_999}, 422, "strategy_id"),
        ({"strategy_id": 1}, 422, "strategy_id"),
        ({"provider_id": 1}, 422, "provider_id"),
        ({"interval": "7m"}, 422, "interval"),
        ({"interval_seconds": 0}, 422, "interval_seconds"),
        ({"initial_capital": 0}, 422, "initial_capital"),
        ({"leverage": 0.5}, 422, "leverage"),
        ({"trade_fee_rate": 0.5}, 422, "trade_fee_rate"),
        ({"trade_fee_rate": -0.1}, 422, "trade_fee_rate"),
        ({"coins": ["BTC", "NOPE"]}, 422, "coins.1"),
        ({"coins": ["BTC", "BTCUSDT"]}, 422, "coins"),
        ({"risk": {"max_leverage": -1}}, 422, "risk.max_leverage"),
        ({"risk": {"max_levrage": 1}}, 422, "risk.max_levrage"),
        ({"colour": "red"}, 422, "colour"),
        ({"market": "perp-mark"}, 422, "market"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(client: FlaskClient, values: dict[str, Any], status: int, field: str) -> None:
    body = {"name": "Hold", "kind": "hold", **values}
    assert refused(client, "POST", "/api/models", body) == (status, field)
    assert client.get("/api/models").json == []


def test_a_name_is_taken_once(client: FlaskClient) -> None:
    make(client)
    assert refused(client, "POST", "/api/models", {"name": "Hold", "kind": "hold"}) == (409, "name")
    other = make(client, name="Other")
    assert refused(client, "PUT", f"/api/models/{other['id']}", {"name": "Hold"}) == (409, "name")


def test_put_changes_what_it_names(client: FlaskClient) -> None:
    made = make(client, kind="rules", strategy_id=strategy_id(client), risk={"max_open_positions": 7})
    path = f"/api/models/{made['id']}"
    changed = client.put(path, json={"leverage": 3, "risk": {"max_leverage": 0}}).json
    assert changed is not None
    assert changed["leverage"] == 3
    assert (changed["risk"]["max_leverage"], changed["risk"]["max_open_positions"]) == (0, 7)
    assert changed["name"] == made["name"]
    assert client.put(path, json={"status": "running"}).json["status"] == "running"  # type: ignore[index]
    assert refused(client, "PUT", path, {"kind": "hold"}) == (422, "kind")
    assert refused(client, "PUT", "/api/models/999999", {"name": "x"}) == (404, None)


def test_capital_is_fixed_by_the_first_fill(client: FlaskClient) -> None:
    made = make(client)
    path = f"/api/models/{made['id']}"
    assert client.put(path, json={"initial_capital": 5000}).status_code == 200
    portfolio = client.get(f"{path}/portfolio").json
    assert portfolio is not None
    assert (portfolio["cash"], portfolio["initial_capital"]) == (5000, 5000)
    assert [row["equity"] for row in client.get(f"{path}/equity").json] == [5000]  # type: ignore[union-attr]
    client.post(f"{path}/execute")
    assert refused(client, "PUT", path, {"initial_capital": 6000}) == (409, "initial_capital")
    assert client.put(path, json={"initial_capital": 5000}).status_code == 200


def test_deleting_leaves_nothing(client: FlaskClient, services: Services) -> None:
    made = make(client)
    client.post(f"/api/models/{made['id']}/execute")
    assert client.delete(f"/api/models/{made['id']}").status_code == 204
    assert refused(client, "GET", f"/api/models/{made['id']}", None) == (404, None)
    with services.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Position)) == 0
        for table in Base.metadata.sorted_tables:
            if "model_id" in table.columns:
                found = session.scalar(
                    select(func.count()).select_from(table).where(table.columns["model_id"] == made["id"])
                )
                assert found == 0, table.name


# -- pools --------------------------------------------------------------------------------


def test_a_pool_is_edited(client: FlaskClient) -> None:
    path = f"/api/models/{make(client)['id']}/coins"
    added = client.post(path, json={"symbol": "SOL", "weight": 2.5})
    assert added.status_code == 201
    row: dict[str, Any] = added.json  # type: ignore[assignment]
    assert (row["symbol"], row["weight"], row["is_enabled"]) == ("SOL", 2.5, True)
    changed = client.put(f"{path}/{row['id']}", json={"is_enabled": False}).json
    assert changed is not None
    assert (changed["is_enabled"], changed["weight"]) == (False, 2.5)
    assert [r["symbol"] for r in client.get(path).json] == ["BTC", "ETH", "SOL"]  # type: ignore[union-attr]
    assert client.delete(f"{path}/{row['id']}").status_code == 204
    assert refused(client, "DELETE", f"{path}/{row['id']}", None) == (404, None)
    coin_id = client.get(path).json[0]["id"]  # type: ignore[index]
    assert refused(client, "POST", path, {"id": coin_id}) == (409, "id")
    assert refused(client, "POST", path, {}) == (422, "id")
    assert refused(client, "POST", path, {"id": 999_999}) == (422, "id")
    assert refused(client, "POST", path, {"symbol": "NOPE"}) == (422, "symbol")
    assert refused(client, "PUT", f"{path}/{coin_id}", {"weight": -1}) == (422, "weight")


def test_a_group_is_added_once(client: FlaskClient) -> None:
    made = make(client)
    group = next(g for g in client.get("/api/coin-groups").json if g["name"] == "Top10")  # type: ignore[union-attr]
    path = f"/api/models/{made['id']}/add-group/{group['id']}"
    assert client.post(path).json == {"added": 8, "already": 2}
    assert client.post(path).json == {"added": 0, "already": 10}
    assert refused(client, "POST", f"/api/models/{made['id']}/add-group/9999", None) == (404, None)


def test_weights_share_out_the_equity(client: FlaskClient) -> None:
    made = make(client)
    pool = client.get(f"/api/models/{made['id']}/coins").json
    assert pool is not None
    client.put(f"/api/models/{made['id']}/coins/{pool[0]['id']}", json={"weight": 3})
    done = client.post(f"/api/models/{made['id']}/execute").json
    assert done is not None
    assert {d["symbol"]: d["position_size_percent"] for d in done["decisions"]} == {"BTC": 75, "ETH": 25}


def test_a_disabled_coin_keeps_its_position_and_gets_no_decision(client: FlaskClient) -> None:
    made = make(client)
    path = f"/api/models/{made['id']}"
    client.post(f"{path}/execute")
    btc = client.get(f"{path}/coins").json[0]["id"]  # type: ignore[index]
    client.put(f"{path}/coins/{btc}", json={"is_enabled": False})
    portfolio = client.get(f"{path}/portfolio").json
    assert portfolio is not None
    assert {p["coin"] for p in portfolio["positions"]} == {"BTC", "ETH"}
    client.delete(f"{path}/coins/{btc}")
    assert len(client.get(f"{path}/portfolio").json["positions"]) == 2  # type: ignore[index]


# -- accounts -----------------------------------------------------------------------------


def test_one_cycle_now_comes_back_with_its_fills(client: FlaskClient, services: Services) -> None:
    made = make(client, trade_fee_rate=0.002)
    path = f"/api/models/{made['id']}"
    done: dict[str, Any] = client.post(f"{path}/execute").json  # type: ignore[assignment]
    assert {d["action"] for d in done["decisions"]} == {"LONG"}
    assert all(d["executed"] for d in done["decisions"])
    assert [o["status"] for o in done["orders"]] == ["filled", "filled"]
    assert {f["signal"] for f in done["fills"]} == {"buy_to_enter"}
    by_id = {d["id"]: d for d in done["decisions"]}
    for order, fill in zip(done["orders"], done["fills"], strict=True):
        assert fill["order_id"] == order["id"]
        assert by_id[fill["decision_id"]]["order_ids"] == [order["id"]]
    assert {v["result"] for v in done["verdicts"]} == {"pass"}
    # The same closed bar is decided on once.
    assert client.post(f"{path}/execute").json["decisions"] == []  # type: ignore[index]
    assert services.models.check(made["id"]) == []


def test_the_sums_of_a_portfolio_hold(client: FlaskClient) -> None:
    made = make(client, leverage=3, initial_capital=7777.77, slippage_bps=5)
    client.post(f"/api/models/{made['id']}/execute")
    sums: dict[str, Any] = client.get(f"/api/models/{made['id']}/portfolio").json  # type: ignore[assignment]
    assert len(sums["positions"]) == 2
    assert sums["total_value"] == pytest.approx(sums["cash"] + sums["positions_value"], abs=1e-9)
    made_of = sums["initial_capital"] + sums["realized_pnl"] + sums["unrealized_pnl"]
    assert sums["total_value"] == pytest.approx(made_of, abs=1e-9)
    # Nothing is closed: what is realized so far are the fees.
    assert sums["realized_pnl"] == pytest.approx(-sums["total_fees"], abs=1e-9)
    for row in sums["positions"]:
        assert row["value"] == pytest.approx(row["margin"] + row["unrealized_pnl"])
        assert row["notional_value"] == pytest.approx(row["quantity"] * row["current_price"])
        assert row["leverage"] == pytest.approx(3)
        assert row["liquidation_price"] < row["avg_price"]
    assert sums["return_percentage"] == pytest.approx(100 * (sums["total_value"] / 7777.77 - 1))


def test_an_unknown_price_is_null_and_the_sums_still_hold(
    client: FlaskClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    from domain.errors import NoSource

    made = make(client)
    client.post(f"/api/models/{made['id']}/execute")

    def fail(*_args: object, **_options: object) -> None:
        raise NoSource("nobody answers")

    monkeypatch.setattr(services.market, "quotes", fail)
    sums: dict[str, Any] = client.get(f"/api/models/{made['id']}/portfolio").json  # type: ignore[assignment]
    assert [row["current_price"] for row in sums["positions"]] == [None, None]
    assert sums["total_value"] == pytest.approx(sums["cash"] + sums["positions_value"], abs=1e-9)
    # What was decided is decided: its orders wait for a price.
    done = client.post(f"/api/models/{make(client, name='Other')['id']}/execute").json
    assert done is not None
    assert ([o["status"] for o in done["orders"]], done["fills"]) == (["submitted", "submitted"], [])


def test_logs_come_newest_first_and_in_pages(client: FlaskClient) -> None:
    made = make(client, coins=["BTC", "ETH", "SOL"])
    path = f"/api/models/{made['id']}"
    client.post(f"{path}/execute")
    rows: list[dict[str, Any]] = client.get(f"{path}/trades").json  # type: ignore[assignment]
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert len(client.get(f"{path}/trades?limit=2").json or []) == 2
    assert [row["coin"] for row in client.get(f"{path}/trades?coin=eth").json] == ["ETH"]  # type: ignore[union-attr]
    assert client.get(f"{path}/trades?before={rows[0]['timestamp']}").json == []
    assert client.get(f"{path}/trades?coin=NOPE").json == []
    assert len(client.get(f"{path}/decisions?coin=BTCUSDT").json or []) == 1
    assert refused(client, "GET", f"{path}/trades?limit=0", None) == (422, "limit")
    assert refused(client, "GET", f"{path}/trades?limit=1001", None) == (422, "limit")
    assert refused(client, "GET", "/api/models/99999/trades", None) == (404, None)


def test_the_leaderboard_lists_everybody(client: FlaskClient) -> None:
    one, two = make(client, name="one"), make(client, name="two")
    client.post(f"/api/models/{one['id']}/execute")
    rows: list[dict[str, Any]] = client.get("/api/leaderboard").json  # type: ignore[assignment]
    assert {row["model_id"] for row in rows} == {one["id"], two["id"]}
    returns = [row["return_percentage"] for row in rows]
    assert returns == sorted(returns, reverse=True)
    traded = next(row for row in rows if row["model_id"] == one["id"])
    assert traded["fees"] > 0
    assert traded["max_drawdown"] > 0
    assert traded["sharpe"] is None


def test_an_account_of_another_market_is_not_stepped(client: FlaskClient, services: Services) -> None:
    from sqlalchemy import update

    from database import Model

    made = make(client)
    with services.database.write() as session:
        session.execute(update(Model).where(Model.id == made["id"]).values(workspace_market="exchanges"))
    assert refused(client, "POST", f"/api/models/{made['id']}/execute", None) == (409, None)
    assert client.get(f"/api/models/{made['id']}/portfolio").status_code == 200


# -- the command --------------------------------------------------------------------------


def test_the_books_can_be_checked_from_the_command_line(
    application: Flask, client: FlaskClient, services: Services
) -> None:
    from sqlalchemy import update

    made = make(client)
    client.post(f"/api/models/{made['id']}/execute")
    runner = application.test_cli_runner()
    right = runner.invoke(args=["models", "check"])
    assert (right.exit_code, right.output) == (0, f"model {made['id']}: right\n")
    with services.database.write() as session:
        session.execute(update(Position).where(Position.coin == "BTC").values(side="short"))
    wrong = runner.invoke(args=["models", "check", str(made["id"])])
    assert wrong.exit_code == 1
    assert "side of BTC: stored short, derived long" in wrong.output
    listed = runner.invoke(args=["models", "list", "--json"])
    assert json.loads(listed.output)[0]["name"] == "Hold"
    assert runner.invoke(args=["models", "check", "99999"]).exit_code == 1
