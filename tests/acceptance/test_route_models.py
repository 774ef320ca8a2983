"""Paper accounts through the routes: what a portfolio must always say of itself, limits, weights, and errors."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.acceptance.lab import Lab, gated, group
from tests.acceptance.random_markets import coarser, differences, random_rates, walk, with_gaps
from tests.oracle.reference import HOUR, Coin, Rules, gated_signals, simulate

CAPITAL = 10_000.0
DAY = 24 * HOUR
NEAR = 1e-9 * CAPITAL
SPEED = 60.0
EVERY_BAR = {
    "name": "every bar", "direction": "long", "sell_groups": [],
    "buy_groups": [group(("VOLUME", "above", {"period": 1, "factor": 0.01}))],
}  # fmt: skip
TURNING = {
    "name": "turning", "direction": "both",
    "buy_groups": [group(("MA", "above", {"period": 2}))], "sell_groups": [group(("MA", "below", {"period": 2}))],
}  # fmt: skip
NO_LIMITS = dict.fromkeys(
    ("max_position_size_percent", "max_leverage", "max_open_positions", "max_gross_exposure_percent",
     "max_daily_trades", "max_daily_loss_percent", "stop_loss_percent", "take_profit_percent"), 0,
)  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A workspace on the simulated market at sixty times the speed, without a scheduler."""
    from app import create_app
    from config import Settings

    folder = tmp_path_factory.mktemp("desk")
    settings = Settings(data_dir=folder, market="simulated", simulated_speed=SPEED, host="127.0.0.1", _env_file=None)
    app = create_app(settings)
    app.testing = True
    return app.test_client(use_cookies=False)


def make(desk: FlaskClient, **wanted: Any) -> dict[str, Any]:
    body = {
        "name": f"m{time.monotonic_ns()}", "kind": "hold", "status": "paused", "coins": ["BTC", "ETH", "SOL"],
        "initial_capital": CAPITAL, "interval": "1m", "interval_seconds": 60, **wanted,
    }  # fmt: skip
    answer = desk.post("/api/models", json=body)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    model: dict[str, Any] = answer.get_json()
    return model


def strategy(desk: FlaskClient, rules: dict[str, Any]) -> int:
    answer = desk.post("/api/strategies", json={**rules, "name": f"s{time.monotonic_ns()}"})
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return int(answer.get_json()["id"])


def read(desk: FlaskClient, path: str) -> Any:
    answer = desk.get(path)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()


def execute(desk: FlaskClient, model_id: int) -> dict[str, Any]:
    answer = desk.post(f"/api/models/{model_id}/execute")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    cycle: dict[str, Any] = answer.get_json()
    assert set(cycle) >= {"decisions", "verdicts", "orders", "fills"}
    return cycle


def check_portfolio(desk: FlaskClient, model_id: int, fee_rate: float = 0.001) -> dict[str, Any]:
    told: dict[str, Any] = read(desk, f"/api/models/{model_id}/portfolio")
    trades = read(desk, f"/api/models/{model_id}/trades?limit=1000")
    near = pytest.approx
    assert told["total_value"] == near(told["cash"] + told["positions_value"], abs=NEAR)
    grown = told["initial_capital"] + told["realized_pnl"] + told["unrealized_pnl"]
    assert told["total_value"] == near(grown, abs=NEAR)
    assert told["return_percentage"] == near((told["total_value"] / told["initial_capital"] - 1) * 100, abs=1e-9)
    positions = told["positions"]
    for name, part in (("positions_value", "value"), ("unrealized_pnl", "unrealized_pnl"), ("margin_used", "margin")):
        assert told[name] == near(sum(position[part] for position in positions), abs=NEAR)
    for position in positions:
        sign = 1 if position["side"] == "long" else -1
        moved = sign * position["quantity"] * (position["current_price"] - position["avg_price"])
        assert position["unrealized_pnl"] == near(moved, abs=NEAR)
        assert position["value"] == near(position["margin"] + moved, abs=NEAR)
        assert position["notional_value"] == near(position["quantity"] * position["current_price"], abs=NEAR)
    assert told["total_fees"] == near(sum(trade["fee"] for trade in trades), abs=NEAR)
    for trade in trades:
        assert trade["fee"] == near(trade["quantity"] * trade["price"] * fee_rate, abs=1e-6)
        assert (trade["pnl"] is None) == (trade["signal"] != "close_position")
    assert [trade["id"] for trade in trades] == sorted((trade["id"] for trade in trades), reverse=True)
    return told


def test_hold_buys_by_weight_and_then_holds(desk: FlaskClient) -> None:
    model = make(desk, coins=["BTC", "ETH"])
    ids = {coin["symbol"]: coin["id"] for coin in read(desk, f"/api/models/{model['id']}/coins")}
    answer = desk.put(f"/api/models/{model['id']}/coins/{ids['BTC']}", json={"weight": 3})
    assert answer.status_code == 200
    assert set(model["risk"].values()) == {0}
    cycle = execute(desk, model["id"])
    asked = {row["symbol"]: row["position_size_percent"] for row in cycle["decisions"]}
    assert asked == {"BTC": pytest.approx(75), "ETH": pytest.approx(25)}
    assert len(cycle["fills"]) == 2
    told = check_portfolio(desk, model["id"])
    margins = {row["coin"]: row["margin"] for row in told["positions"]}
    assert margins["BTC"] == pytest.approx(7500, abs=NEAR)
    # sized after the first fee of 7.5; 25 % of what is left is 2498.125, and cash carries (2492.5) / 1.001
    assert margins["ETH"] == pytest.approx((CAPITAL - 7507.5) / 1.001, rel=1e-3)
    assert execute(desk, model["id"])["orders"] == []
    check_portfolio(desk, model["id"])


def test_a_disabled_coin_is_not_bought(desk: FlaskClient) -> None:
    model = make(desk, coins=["BTC", "ETH"])
    [btc] = [row for row in read(desk, f"/api/models/{model['id']}/coins") if row["symbol"] == "BTC"]
    assert desk.put(f"/api/models/{model['id']}/coins/{btc['id']}", json={"is_enabled": False}).status_code == 200
    execute(desk, model["id"])
    assert [row["coin"] for row in check_portfolio(desk, model["id"])["positions"]] == ["ETH"]


def test_limits_clamp_and_say_what_was_asked(desk: FlaskClient) -> None:
    model = make(desk, kind="rules", strategy_id=strategy(desk, EVERY_BAR), leverage=50)
    cycle = execute(desk, model["id"])
    first = {row["rule"]: row for row in cycle["decisions"][0]["verdicts"]}
    size, leverage = first["max_position_size_percent"], first["max_leverage"]
    assert (size["result"], size["asked"], size["allowed"]) == ("clamp", pytest.approx(100 / 3), 20)
    assert (leverage["result"], leverage["asked"], leverage["allowed"]) == ("clamp", 50, 20)
    told = check_portfolio(desk, model["id"])
    assert sum(row["notional_value"] for row in told["positions"]) <= 3 * CAPITAL * 1.01
    for row in told["positions"]:
        assert row["leverage"] <= 20
        assert row["margin"] <= 0.2 * CAPITAL + NEAR
        assert row["stop_loss"] == pytest.approx(row["avg_price"] * 0.95)
        assert row["take_profit"] == pytest.approx(row["avg_price"] * 1.1)
        assert row["liquidation_price"] < row["stop_loss"]
    stored = read(desk, f"/api/models/{model['id']}/decisions")
    assert {row["id"] for row in stored} == {row["id"] for row in cycle["decisions"]}
    assert all(row["verdicts"] for row in stored)
    assert {row["executed"] for row in stored if row["order_ids"]} <= {True}


def test_at_most_so_many_positions(desk: FlaskClient) -> None:
    risk = {**NO_LIMITS, "max_open_positions": 1}
    model = make(desk, kind="rules", strategy_id=strategy(desk, EVERY_BAR), risk=risk)
    cycle = execute(desk, model["id"])
    assert [row["executed"] for row in cycle["decisions"]] == [True, False, False]
    refused = [row for row in cycle["verdicts"] if row["result"] == "refuse"]
    assert {(row["rule"], row["asked"], row["allowed"]) for row in refused} == {("max_open_positions", 2, 1)}
    assert len(check_portfolio(desk, model["id"])["positions"]) == 1


def test_turning_accounts_keep_their_books(desk: FlaskClient) -> None:
    """Longs and shorts, opened and closed over a few bars: every close nets its fees, nothing is lost or made."""
    wanted = {"leverage": 3, "slippage_bps": 5, "trade_fee_rate": 0.002, "risk": NO_LIMITS}
    always = [group(("VOLUME", "above", {"period": 1, "factor": 0.01}))]
    sides = [
        strategy(desk, {"name": "", "direction": "both", "buy_groups": buys, "sell_groups": sells})
        for buys, sells in ((always, []), ([], always))
    ]
    model = make(desk, kind="rules", strategy_id=sides[0], coins=["BTC", "DOGE"], **wanted)
    base = f"/api/models/{model['id']}"
    for turn in range(3):
        assert desk.put(base, json={"strategy_id": sides[turn % 2]}).status_code == 200
        for _ in range(20):  # until a bar has closed
            if execute(desk, model["id"])["fills"]:
                break
            time.sleep(0.2)
        told = check_portfolio(desk, model["id"], 0.002)
        assert {row["side"] for row in told["positions"]} == {("long", "short")[turn % 2]}
    trades = read(desk, base + "/trades?limit=1000")[::-1]
    closes = [row for row in trades if row["signal"] == "close_position"]
    assert len(closes) == 4
    opened: dict[str, Any] = {}
    for row in trades:
        if row["signal"] != "close_position":
            assert row["signal"] == ("buy_to_enter" if row["side"] == "long" else "sell_to_enter")
            opened[row["coin"]] = row
            continue
        entry = opened.pop(row["coin"])
        assert (row["side"], row["quantity"]) == (entry["side"], pytest.approx(entry["quantity"], rel=1e-9))
        if told["total_funding"] == 0:
            sign = 1 if row["side"] == "long" else -1
            gross = sign * row["quantity"] * (row["price"] - entry["price"])
            assert row["pnl"] == pytest.approx(gross - entry["fee"] - row["fee"], abs=1e-6)
    if told["total_funding"] == 0:
        closed = sum(row["pnl"] for row in closes) - sum(row["fee"] for row in opened.values())
        assert told["realized_pnl"] == pytest.approx(closed, abs=1e-6)
    coin = closes[0]["coin"]
    assert {row["coin"] for row in read(desk, f"{base}/trades?coin={coin}")} == {coin}
    assert len(read(desk, f"{base}/trades?limit=1")) == 1
    assert read(desk, base + "/equity")[0]["equity"] == CAPITAL


def test_a_put_changes_what_it_names_and_a_delete_forgets(desk: FlaskClient) -> None:
    model = make(desk)
    path = f"/api/models/{model['id']}"
    answer = desk.put(path, json={"leverage": 2, "risk": {"stop_loss_percent": 7}})
    assert answer.status_code == 200
    after = read(desk, path)
    assert after["leverage"] == 2
    assert after["risk"]["stop_loss_percent"] == 7
    assert (after["name"], after["initial_capital"], after["coins"]) == (model["name"], CAPITAL, model["coins"])
    assert desk.delete(path).status_code in (200, 204)
    for part in ("", "/portfolio", "/trades", "/decisions", "/equity", "/coins"):
        assert desk.get(path + part).status_code == 404
    assert desk.post(path + "/execute").status_code == 404


def test_silent_fields_of_a_model(desk: FlaskClient) -> None:
    answer = desk.post("/api/models", json={"name": "silent", "kind": "hold", "coins": ["BTC"]})
    assert answer.status_code == 201, answer.get_data(as_text=True)
    told = answer.get_json()
    assert (told["status"], told["market"], told["leverage"], told["trade_fee_rate"]) == ("running", "perp", 1, 0.001)
    desk.delete(f"/api/models/{told['id']}")


def test_the_pool_by_group_and_coin(desk: FlaskClient) -> None:
    model = make(desk, coins=["BTC"])
    [top] = [row for row in read(desk, "/api/coin-groups") if row["name"] == "Top10"]
    counted = desk.post(f"/api/models/{model['id']}/add-group/{top['id']}").get_json()
    assert counted["added"] + counted["already"] == len(top["coins"])
    again = desk.post(f"/api/models/{model['id']}/add-group/{top['id']}").get_json()
    assert (again["added"], again["already"]) == (0, len(top["coins"]))
    pool = read(desk, f"/api/models/{model['id']}/coins")
    path = f"/api/models/{model['id']}/coins/{pool[0]['id']}"
    assert desk.put(path, json={"weight": -1}).status_code == 422
    assert desk.delete(path).status_code in (200, 204)
    assert pool[0]["id"] not in [row["id"] for row in read(desk, f"/api/models/{model['id']}/coins")]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"kind": "oracle"}, "kind"), ({"name": ""}, "name"), ({"initial_capital": 0}, "initial_capital"),
        ({"initial_capital": -1}, "initial_capital"), ({"leverage": 0}, "leverage"), ({"leverage": "x"}, "leverage"),
        ({"interval": "7m"}, "interval"), ({"interval_seconds": 0}, "interval_seconds"), ({"status": "?"}, "status"),
        ({"coins": ["NOSUCH"]}, "coins"), ({"coins": "BTC"}, "coins"), ({"trade_fee_rate": -1}, "trade_fee_rate"),
        ({"slippage_bps": -1}, "slippage_bps"), ({"kind": "rules", "strategy_id": 987_654}, "strategy_id"),
        ({"kind": "rules"}, "strategy_id"), ({"risk": {"max_leverage": -1}}, "risk"), ({"market": "casino"}, "market"),
        ({"risk": {"no_such_limit": 1}}, "risk"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_models_are_422_and_named(desk: FlaskClient, wrong: dict[str, Any], field: str) -> None:
    body = {"name": f"w{time.monotonic_ns()}", "kind": "hold", "coins": ["BTC"], "status": "paused", **wrong}
    answer = desk.post("/api/models", json=body)
    assert answer.status_code == 422, answer.get_data(as_text=True)
    told = answer.get_json()
    assert told["error"]
    assert told["field"].split(".")[0] == field


def test_other_errors_have_the_contracts_shapes(desk: FlaskClient) -> None:
    model = make(desk)
    path = f"/api/models/{model['id']}"
    cases = [
        (desk.get("/api/models/987654"), 404),
        (desk.put("/api/models/987654", json={"leverage": 2}), 404),
        (desk.delete("/api/models/987654"), 404),
        (desk.post("/api/models/987654/execute"), 404),
        (desk.post("/api/models", data=b"{", content_type="application/json"), 400),
        (desk.post("/api/models", data=b"name=x", content_type="application/x-www-form-urlencoded"), 415),
        (desk.put(path, json={"leverage": -1}), 422),
        (desk.get(path + "/trades?limit=0"), 422),
        (desk.get(path + "/trades?limit=many"), 422),
        (desk.get(path + "/trades?limit=1001"), 422),
        (desk.get(path + "/decisions?before=then"), 422),
        (desk.post(path + "/coins", json={"coin_id": 987_654}), (404, 422)),
        (desk.post(path + "/add-group/987654"), 404),
        (desk.post("/api/coins", json={"symbol": "BTC", "name": "again"}), 409),
        (desk.get("/api/klines/NOSUCH"), 404),
    ]
    for answer, status in cases:
        assert answer.status_code in (status if isinstance(status, tuple) else (status,)), (
            answer.request.path, answer.get_data(as_text=True)
        )  # fmt: skip
        assert answer.get_json()["error"]
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("daily_trades", [0, 100_000], ids=["kernel", "engine"])
@pytest.mark.parametrize("seed", [5, 6])
def test_a_models_backtest_runs_under_its_limits(lab: Lab, seed: int, daily_trades: int) -> None:
    """Size clamped to 20 %, leverage to 2, stop and target set by the limits: as if a plain run had asked for them.

    A limit on daily trades that never binds sends the run through the engine's steps instead of the kernel.
    """
    rng = random.Random(seed)
    names = [lab.name() for _ in range(3)]
    coins = []
    for name in names:
        assert lab.client.post("/api/coins", json={"symbol": name, "name": name}).status_code == 201
        candles = with_gaps(rng, coarser(walk(rng, 1600, sigma=0.01), 4, rng))
        rates = random_rates(rng, candles, "stored")
        lab.store(candles, name=name, market="perp", rates=rates)
        coins.append(Coin(name, candles, gated_signals(candles), rates=rates))
    stored = lab.client.post("/api/strategies", json={**gated("both"), "name": names[0]})
    body = {
        "name": names[0], "kind": "rules", "strategy_id": stored.get_json()["id"], "coins": names, "leverage": 5,
        "status": "paused", "initial_capital": CAPITAL, "interval": "1h", "interval_seconds": 3600,
        "risk": {"max_leverage": 2, "max_daily_trades": daily_trades, "max_daily_loss_percent": 0,
                 "max_gross_exposure_percent": 0},
    }  # fmt: skip
    model = lab.client.post("/api/models", json=body)
    assert model.status_code == 201, model.get_data(as_text=True)
    asked = {
        "model_id": model.get_json()["id"], "coins": names, "start_date": "2024-01-01", "end_date": "2024-12-31",
        "funding": "auto", "market": "perp",
    }  # fmt: skip
    answer = lab.ask(asked)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    rules = Rules(leverage=2, size_percent=20, stop=5, target=10, direction="both", market="perp")
    mine = simulate(coins, rules)
    assert len(mine.trades) > 60
    assert differences(answer.get_json(), mine, rules) == []


def test_a_days_opens_and_losses_are_limited_in_a_backtest(lab: Lab) -> None:
    """At most two opens a UTC day; no open once the day has lost 1 % of its first equity. Closes are never refused."""
    rng = random.Random(8)
    name = lab.name()
    assert lab.client.post("/api/coins", json={"symbol": name, "name": name}).status_code == 201
    lab.store(coarser(walk(rng, 2400, sigma=0.008), 4, rng), name=name)
    stored = lab.client.post("/api/strategies", json={**TURNING, "name": name}).get_json()["id"]
    counts = {}
    for limit, loss in ((0, 0), (2, 0), (0, 1)):
        body = {
            "name": f"{name} {limit} {loss}", "kind": "rules", "strategy_id": stored, "coins": [name],
            "status": "paused", "initial_capital": CAPITAL, "interval": "1h", "interval_seconds": 3600,
            "risk": {**NO_LIMITS, "max_daily_trades": limit, "max_daily_loss_percent": loss},
        }  # fmt: skip
        model = lab.client.post("/api/models", json=body).get_json()
        asked = {"model_id": model["id"], "coins": [name], "start_date": "2024-01-01", "end_date": "2024-12-31",
                 "funding": "none", "market": "spot"}  # fmt: skip
        answer = lab.ask(asked)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        report = answer.get_json()
        values = {row["timestamp"]: row["value"] for row in report["account_values"]}
        days: dict[int, list[int]] = {}
        for row in report["trades"]:
            days.setdefault(row["entry_time"] // DAY, []).append(row["entry_time"])
        counts[limit, loss] = sum(map(len, days.values()))
        assert limit == 0 or max(map(len, days.values())) == limit
        for day, entries in days.items():
            first = values.get(day * DAY - HOUR, CAPITAL)
            for entry in entries:
                before = values.get(entry - HOUR, CAPITAL)
                assert loss == 0 or before > first * (1 - loss / 100) - NEAR
    assert counts[2, 0] < counts[0, 0]
    assert counts[0, 1] < counts[0, 0]
