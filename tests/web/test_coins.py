"""/api/coins and /api/coin-groups."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

FIELDS = {"id", "symbol", "name", "category", "is_active", "binance_symbol", "okx_symbol", "hyperliquid_symbol",
          "coingecko_id", "market_cap_rank", "notes", "tags"}  # fmt: skip
MARKUP = "<img src=x onerror=alert(1)>"


def by_symbol(web: FlaskClient, symbol: str, query: str = "") -> dict:
    return next(coin for coin in web.get(f"/api/coins?{query}").json if coin["symbol"] == symbol)


def test_the_list_is_ordered_and_filtered(open_web: FlaskClient) -> None:
    coins = open_web.get("/api/coins").json
    assert len(coins) >= 120
    assert all(set(coin) == FIELDS for coin in coins)
    ranks = [coin["market_cap_rank"] for coin in coins]
    assert ranks == sorted(ranks)
    assert {coin["category"] for coin in open_web.get("/api/coins?category=AI").json} == {"AI"}
    assert [coin["symbol"] for coin in open_web.get("/api/coins?q=bitcoin c").json] == ["BCH"]
    assert open_web.get("/api/coins?q=zzzz").json == []
    assert open_web.get("/api/coins?is_active=0").json == []


def test_one_coin(open_web: FlaskClient) -> None:
    bitcoin = by_symbol(open_web, "BTC")
    assert open_web.get(f"/api/coins/{bitcoin['id']}").json == bitcoin
    assert (bitcoin["binance_symbol"], bitcoin["okx_symbol"], bitcoin["hyperliquid_symbol"]) == (
        "BTCUSDT",
        "BTC-USDT",
        "BTC",
    )
    assert bitcoin["coingecko_id"] == "bitcoin"
    assert by_symbol(open_web, "PEPE")["hyperliquid_symbol"] == "kPEPE"
    assert by_symbol(open_web, "KCS")["binance_symbol"] is None


def test_a_coin_of_ones_own(web: FlaskClient) -> None:
    made = web.post(
        "/api/coins", json={"symbol": "币安人生", "name": MARKUP, "tags": ["x"], "binance_symbol": "币安人生USDT"}
    )
    assert made.status_code == 201
    coin = made.json
    assert set(coin) == FIELDS
    assert (coin["symbol"], coin["name"], coin["is_active"], coin["tags"]) == ("币安人生", MARKUP, True, ["x"])
    assert web.get(f"/api/coins/{coin['id']}").json == coin
    assert web.get("/api/coins?q=币安").json == [coin]
    changed = web.put(f"/api/coins/{coin['id']}", json={"notes": "hello", "binance_symbol": None}).json
    assert changed == {**coin, "notes": "hello", "binance_symbol": None}


def test_a_symbol_is_taken_once_in_capitals_or_not(web: FlaskClient) -> None:
    for symbol in ("BTC", "btc", "Btc"):
        answer = web.post("/api/coins", json={"symbol": symbol, "name": "x"})
        assert (answer.status_code, answer.json["field"]) == (409, "symbol")
    answer = web.post("/api/coins", json={"symbol": "MINE", "name": "x", "binance_symbol": "BTCUSDT"})
    assert (answer.status_code, answer.json["field"]) == (409, "binance_symbol")
    assert web.get("/api/coins?q=MINE&is_active=all").json == []


def test_a_symbol_stays(web: FlaskClient) -> None:
    answer = web.put("/api/coins/1", json={"symbol": "OTHER"})
    assert (answer.status_code, answer.json["field"]) == (422, "symbol")
    assert web.put("/api/coins/1", json={"symbol": "BTC", "notes": "same"}).json["notes"] == "same"
    assert web.put("/api/coins/1", json={}).json["symbol"] == "BTC"


def test_delete_deactivates_and_put_brings_back(web: FlaskClient) -> None:
    doge = by_symbol(web, "DOGE")
    assert web.delete(f"/api/coins/{doge['id']}").json == {**doge, "is_active": False}
    assert web.get("/api/coins?q=dogecoin").json == []
    assert [coin["symbol"] for coin in web.get("/api/coins?is_active=0").json] == ["DOGE"]
    assert by_symbol(web, "DOGE", "is_active=all")["is_active"] is False
    assert web.get(f"/api/coins/{doge['id']}").status_code == 200
    again = web.post("/api/coins", json={"symbol": "DOGE", "name": "x"})
    assert (again.status_code, "reactivate" in again.json["error"]) == (409, True)
    assert web.put(f"/api/coins/{doge['id']}", json={"is_active": True}).json == doge
    assert by_symbol(web, "DOGE") == doge


def symbols(group: dict) -> list[str]:
    return [coin["symbol"] for coin in group["coins"]]


def test_the_ten_groups_are_there(open_web: FlaskClient) -> None:
    groups = {group["name"]: group for group in open_web.get("/api/coin-groups").json}
    assert list(groups) == [
        "Top10",
        "Layer1",
        "Layer2",
        "DeFi",
        "Meme",
        "Stablecoins",
        "Exchange",
        "Payment",
        "AI",
        "Storage",
    ]
    assert symbols(groups["Top10"])[:2] == ["BTC", "ETH"]
    assert len(groups["Top10"]["coins"]) == 10
    assert set(groups["Top10"]) == {"id", "name", "description", "is_builtin", "coins"}


def test_a_group_of_ones_own(web: FlaskClient) -> None:
    made = web.post("/api/coin-groups", json={"name": MARKUP, "description": "mine", "coins": ["SOL", "BTC"]})
    assert made.status_code == 201
    group = made.json
    assert (group["name"], group["description"], symbols(group)) == (MARKUP, "mine", ["SOL", "BTC"])
    place = f"/api/coin-groups/{group['id']}"
    assert web.get(place).json == group
    assert web.post("/api/coin-groups", json={"name": MARKUP}).status_code == 409
    assert web.put(place, json={"name": "Renamed"}).json == {**group, "name": "Renamed"}
    assert symbols(web.put(place, json={"coins": ["ETH", group["coins"][0]["id"]]}).json) == ["ETH", "SOL"]
    assert web.put(place, json={"coins": ["ETH", "NOPE"]}).json["field"] == "coins.1"
    assert web.put(place, json={"coins": ["ETH", "ETH"]}).json["field"] == "coins"
    assert symbols(web.get(place).json) == ["ETH", "SOL"]
    assert web.delete(place).status_code == 204
    assert web.get(place).status_code == 404
    assert web.delete(place).status_code == 404


def test_membership(web: FlaskClient) -> None:
    group = web.post("/api/coin-groups", json={"name": "Mine", "coins": ["BTC", "ETH"]}).json
    solana = by_symbol(web, "SOL")["id"]
    bitcoin = group["coins"][0]["id"]
    member = f"/api/coin-groups/{group['id']}/coins"
    assert symbols(web.put(f"{member}/{solana}").json) == ["BTC", "ETH", "SOL"]
    assert symbols(web.put(f"{member}/{solana}", json={"sort_order": -1}).json) == ["SOL", "BTC", "ETH"]
    assert symbols(web.put(f"{member}/{solana}", json={}).json) == ["SOL", "BTC", "ETH"]
    assert symbols(web.delete(f"{member}/{bitcoin}").json) == ["SOL", "ETH"]
    assert web.delete(f"{member}/{bitcoin}").status_code == 404
    assert web.put(f"{member}/999999").status_code == 404
    assert web.put(f"/api/coin-groups/999999/coins/{solana}").status_code == 404
    assert web.put(f"{member}/{solana}", json={"sort_order": 2**63}).status_code == 422


@pytest.mark.parametrize("symbol", ["биткоин", "บิตคอยน์", "हिन्दी", "ビット", "₿x", "a\u200db", "\u0301"])
def test_a_symbol_is_of_any_script_but_of_letters(web: FlaskClient, symbol: str) -> None:
    is_word = symbol[0].isalpha() and "\u200d" not in symbol
    answer = web.post("/api/coins", json={"symbol": symbol, "name": "Any"})
    assert (answer.status_code, answer.get_json().get("field")) == ((201, None) if is_word else (422, "symbol"))
