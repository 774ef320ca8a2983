"""The catalogue: what comes with Curlew, what a user makes of it, and what text means which coin."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from database import Base, Database, engine_options
from domain.errors import Conflict, InvalidValue, NotFound
from store.catalogue import DATA_FILE, Catalogue


@pytest.fixture
def database(tmp_path: Path) -> Database:
    url = f"sqlite:///{tmp_path / 'catalogue.db'}"
    database = Database(create_engine(url, **engine_options(url)))
    Base.metadata.create_all(database.engine)
    return database


@pytest.fixture
def catalogue(database: Database) -> Catalogue:
    catalogue = Catalogue(database)
    assert catalogue.load()
    return catalogue


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return json.loads(DATA_FILE.read_text(encoding="utf-8"))


# -- what comes with Curlew ---------------------------------------------------------------


def test_the_data_is_consistent(data: dict[str, Any]) -> None:
    coins = {coin["symbol"]: coin for coin in data["coins"]}
    assert len(coins) == len(data["coins"]) >= 130
    ranks = [coin["market_cap_rank"] for coin in data["coins"]]
    assert sorted(ranks) == list(range(1, len(coins) + 1))
    assert len({coin["coingecko_id"] for coin in data["coins"]}) == len(coins)
    places = [(each["venue"], each["market"], each["symbol"]) for each in data["instruments"]]
    assert len(set(places)) == len(places)
    for each in data["instruments"]:
        assert each["coin"] in coins
        assert each["market"] in {"spot", "perp"}
        caps = [tier["notional_cap"] for tier in each.get("tiers", [])]
        assert caps == sorted(caps)
    for group in data["groups"]:
        assert len(set(group["coins"])) == len(group["coins"]) >= 5
        assert set(group["coins"]) <= set(coins)


def test_tiers_join_without_a_step(data: dict[str, Any]) -> None:
    """Maintenance = notional x rate - deduction must be the same from both sides of a cap."""
    checked = 0
    for each in data["instruments"]:
        tiers = each.get("tiers", [])
        for lower, upper in itertools.pairwise(tiers):
            cap = lower["notional_cap"]
            left = cap * lower["rate"] - lower["deduction"]
            right = cap * upper["rate"] - upper["deduction"]
            assert left == pytest.approx(right, rel=1e-3), (each["symbol"], cap)
            checked += 1
    assert checked > 500


def test_symbols_fit_what_the_venues_call_them(data: dict[str, Any]) -> None:
    shapes = {("binance", "spot"): "{}USDT", ("binance", "perp"): "{}USDT", ("okx", "spot"): "{}-USDT",
              ("okx", "perp"): "{}-USDT-SWAP", ("hyperliquid", "perp"): "{}"}  # fmt: skip
    prefixes = {1: "", 1000: ("1000", "k"), 10**6: ("1M", "1000000")}
    for each in data["instruments"]:
        shape = shapes[each["venue"], each["market"]]
        wanted = prefixes[each.get("multiplier", 1)]
        candidates = [prefix + each["coin"] for prefix in ([wanted] if isinstance(wanted, str) else wanted)]
        assert each["symbol"] in [shape.format(name) for name in candidates]


def test_own_symbol_fields_and_instruments_agree(catalogue: Catalogue) -> None:
    for coin in catalogue.list_coins():
        assert catalogue.symbol_for(coin.symbol, "binance", "spot") == coin.binance_symbol
        assert catalogue.symbol_for(coin.symbol, "okx", "spot") == coin.okx_symbol
        assert catalogue.symbol_for(coin.symbol, "hyperliquid", "perp") == coin.hyperliquid_symbol


def test_coingecko_ids_are_known_to_coingecko(data: dict[str, Any], shared_data: Path) -> None:
    """Of the coins that existed when the list was recorded (2023) none may have another symbol there."""
    import gzip

    path = shared_data / "recorded/coingecko/ardent/coins_list.json.gz"
    known = {coin["id"]: coin["symbol"].upper() for coin in json.loads(gzip.decompress(path.read_bytes()))}
    renamed = {"RENDER": "RNDR", "IOTA": "MIOTA", "RONIN": "RON"}
    found = [coin for coin in data["coins"] if coin["coingecko_id"] in known]
    assert len(found) > 100
    for coin in found:
        assert known[coin["coingecko_id"]] == renamed.get(coin["symbol"], coin["symbol"])


def test_real_series_find_their_coins(catalogue: Catalogue, shared_data: Path) -> None:
    venues = {"um": "perp", "swap": "perp", "spot": "spot", "perp": "perp"}
    found = {}
    for folder in (shared_data / "candles").glob("*/*/*"):
        venue, market, symbol = folder.parts[-3:]
        if venue != "hyperliquid" or market != "spot":
            found[symbol] = catalogue.coin_for(venue, venues[market], symbol)
    assert None not in found.values()
    assert (found["FTMUSDT"], found["EOSUSDT"], found["BTC-USDT-SWAP"], found["HYPE"]) == ("S", "A", "BTC", "HYPE")


# -- loading again ------------------------------------------------------------------------


def changed_file(tmp_path: Path, data: dict[str, Any], change: Any) -> Path:
    copy = json.loads(json.dumps(data))
    change(copy)
    path = tmp_path / "newer.json"
    path.write_text(json.dumps(copy), encoding="utf-8")
    return path


def test_loading_the_same_again_does_nothing(catalogue: Catalogue) -> None:
    before = catalogue.list_coins(is_active=None), catalogue.list_groups(), catalogue.instruments()
    assert not catalogue.load()
    assert (catalogue.list_coins(is_active=None), catalogue.list_groups(), catalogue.instruments()) == before


def test_a_newer_file_brings_what_is_new_and_keeps_what_a_user_changed(
    catalogue: Catalogue, tmp_path: Path, data: dict[str, Any]
) -> None:
    bitcoin, doge = catalogue.parse_coin("BTC"), catalogue.parse_coin("DOGE")
    catalogue.update(bitcoin.id, {"name": "My gold", "notes": "mine", "binance_symbol": "BTCFDUSD"})
    catalogue.deactivate(doge.id)
    own = catalogue.create({"symbol": "MINE", "name": "Mine", "market_cap_rank": 7}, now_ms=5)
    groups = {group.name: group for group in catalogue.list_groups()}
    catalogue.remove_member(groups["Meme"].id, doge.id)
    catalogue.delete_group(groups["Storage"].id)
    catalogue.update_group(groups["AI"].id, {"name": "Machines"})

    def change(newer: dict[str, Any]) -> None:
        for coin in newer["coins"]:
            coin["market_cap_rank"] += 1
            coin["name"] += " (new)"
        newer["coins"].append({**newer["coins"][0], "symbol": "FRESH", "name": "Fresh", "binance_symbol": "FRESHUSDT"})
        newer["coins"].append({"symbol": "MINE", "name": "Theirs", "market_cap_rank": 1})
        newer["instruments"].append(
            {"coin": "FRESH", "venue": "binance", "market": "spot", "symbol": "FRESHUSDT", "lot": 2}
        )
        for group in newer["groups"]:
            group["coins"].append("FRESH")

    path = changed_file(tmp_path, data, change)
    assert catalogue.load(path)
    assert not catalogue.load(path)
    after = catalogue.get(bitcoin.id)
    assert (after.name, after.notes, after.binance_symbol, after.market_cap_rank) == ("My gold", "mine", "BTCFDUSD", 2)
    assert catalogue.symbol_for("BTC", "binance", "spot") == "BTCFDUSD"
    assert catalogue.coin_for("binance", "perp", "BTCUSDT") == "BTC"
    assert not catalogue.get(doge.id).is_active
    assert catalogue.get(doge.id).name == "Dogecoin (new)"
    assert (catalogue.get(own.id).name, catalogue.get(own.id).market_cap_rank) == ("Mine", 7)
    assert catalogue.symbol_for("FRESH", "binance", "spot") == "FRESHUSDT"
    names = {group.name: [coin.symbol for coin in group.coins] for group in catalogue.list_groups()}
    assert "DOGE" not in names["Meme"]
    assert "FRESH" not in names["Meme"]
    assert "FRESH" in names["Layer1"]
    assert "Storage" not in names
    assert "AI" not in names
    assert "FRESH" not in names["Machines"]


def test_a_symbol_that_a_user_took_away_stays_away(catalogue: Catalogue, tmp_path: Path, data: dict[str, Any]) -> None:
    solana = catalogue.parse_coin("SOL")
    catalogue.update(solana.id, {"okx_symbol": None})
    path = changed_file(tmp_path, data, lambda newer: newer.update(as_of="later"))
    assert catalogue.load(path)
    assert catalogue.get(solana.id).okx_symbol is None
    assert catalogue.symbol_for("SOL", "okx", "spot") is None
    assert catalogue.symbol_for("SOL", "okx", "perp") == "SOL-USDT-SWAP"


def test_a_file_that_is_wrong_changes_nothing(catalogue: Catalogue, tmp_path: Path, data: dict[str, Any]) -> None:
    def change(newer: dict[str, Any]) -> None:
        newer["coins"][0]["name"] = "Wrong"
        newer["groups"][-1]["coins"].append("NOBODY")

    path = changed_file(tmp_path, data, change)
    with pytest.raises(KeyError):
        catalogue.load(path)
    assert catalogue.parse_coin("BTC").name == "Bitcoin"


# -- looking up ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "symbol"),
    [("BTC", "BTC"), ("btc", "BTC"), (" Btc ", "BTC"), ("BTCUSDT", "BTC"), ("btcusdt", "BTC"), ("BTC-USDT", "BTC"),
     ("BTC/USDT", "BTC"), ("btc/usdt", "BTC"), ("BTC_USDC", "BTC"), ("BTCUSDC", "BTC"), ("BTC-USDT-SWAP", "BTC"),
     ("BTC/USDT:USDT", "BTC"), ("BTCUSD", "BTC"), ("USDT", "USDT"), ("USDC", "USDC"), ("USDCUSDT", "USDC"),
     ("S", "S"), ("SUSDT", "S"), ("A", "A"), ("1INCH", "1INCH"), ("1INCHUSDT", "1INCH"), ("1000SHIBUSDT", "SHIB"),
     ("1000PEPEUSDT", "PEPE"), ("kPEPE", "PEPE"), ("kpepe", "PEPE"), ("1MBABYDOGEUSDT", "BABYDOGE"),
     ("MATIC", "POL"), ("MATICUSDT", "POL"), ("FTM-USDT", "S"), ("eos", "A"), ("RNDR", "RENDER"), ("USD1", "USD1")],
)  # fmt: skip
def test_what_text_means_which_coin(catalogue: Catalogue, text: str, symbol: str) -> None:
    assert catalogue.parse_coin(text).symbol == symbol


@pytest.mark.parametrize(
    "text", ["", " ", "NOPE", "NOPEUSDT", "USDTUSDTUSDT", "-", "/", "BTC USDT", "\x00", "x" * 10_000]
)
def test_what_means_no_coin(catalogue: Catalogue, text: str) -> None:
    with pytest.raises(NotFound) as caught:
        catalogue.parse_coin(text)
    assert len(str(caught.value)) < 200


def test_a_coin_of_any_script_is_found(catalogue: Catalogue) -> None:
    catalogue.create({"symbol": "龙虾", "name": "Lobster", "binance_symbol": "龙虾USDT"}, now_ms=0)
    assert catalogue.parse_coin("龙虾USDT").symbol == "龙虾"
    assert catalogue.coin_for("binance", "spot", "龙虾USDT") == "龙虾"


def test_symbols_of_venues(catalogue: Catalogue) -> None:
    assert catalogue.symbol_for("SHIB", "binance", "spot") == "SHIBUSDT"
    assert catalogue.symbol_for("SHIB", "binance", "perp") == "1000SHIBUSDT"
    assert catalogue.symbol_for("SHIB", "binance", "perp-mark") == "1000SHIBUSDT"
    assert catalogue.symbol_for("SHIB", "simulated", "perp") == "SHIBUSDT"
    assert catalogue.symbol_for("KCS", "binance", "spot") is None
    assert catalogue.symbol_for("NOPE", "binance", "spot") is None
    assert catalogue.coin_for("binance", "perp", "1000SHIBUSDT") == "SHIB"
    assert catalogue.coin_for("binance", "perp-mark", "BTCUSDT") == "BTC"
    assert catalogue.coin_for("simulated", "perp", "SHIBUSDT") == "SHIB"
    assert catalogue.coin_for("binance", "spot", "MATICUSDT") == "POL"
    assert catalogue.coin_for("binance", "spot", "WHATUSDT") is None
    perp = catalogue.instrument("PEPE", "hyperliquid", "perp")
    assert perp is not None
    assert (perp.symbol, perp.multiplier, perp.lot, perp.max_leverage) == ("kPEPE", 1000.0, 1.0, 10.0)
    swap = catalogue.instrument("DOGE", "okx", "perp")
    assert swap is not None
    assert swap.contract_size == 1000.0


def test_what_one_process_adds_another_sees(database: Database, catalogue: Catalogue, monkeypatch: Any) -> None:
    import store.catalogue

    now = [1000.0]
    monkeypatch.setattr(store.catalogue.time, "monotonic", lambda: now[0])
    other = Catalogue(database)
    assert other.list_coins(q="MINE") == []
    catalogue.create({"symbol": "MINE", "name": "Mine"}, now_ms=0)
    now[0] += 2.1
    assert [coin.symbol for coin in other.list_coins(q="MINE")] == ["MINE"]


# -- changing -----------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", ["", "A" * 21, "A B", "A/B", "<b>", "..", "-", "A\n", "A\x00", "A\u200b"])
def test_a_symbol_has_a_shape(catalogue: Catalogue, symbol: str) -> None:
    with pytest.raises(InvalidValue, match="1 to 20 letters"):
        catalogue.create({"symbol": symbol, "name": "x"}, now_ms=0)


def test_own_symbol_fields_move_their_instruments(catalogue: Catalogue) -> None:
    coin = catalogue.create({"symbol": "MINE", "name": "Mine", "binance_symbol": "MINEUSDT"}, now_ms=0)
    assert catalogue.symbol_for("MINE", "binance", "spot") == "MINEUSDT"
    catalogue.update(coin.id, {"binance_symbol": "MINEFDUSD", "hyperliquid_symbol": "kMINE"})
    assert catalogue.symbol_for("MINE", "binance", "spot") == "MINEFDUSD"
    assert catalogue.coin_for("hyperliquid", "perp", "kMINE") == "MINE"
    catalogue.update(coin.id, {"binance_symbol": None})
    assert catalogue.symbol_for("MINE", "binance", "spot") is None
    with pytest.raises(Conflict, match="BTC-USDT"):
        catalogue.update(coin.id, {"notes": "half", "okx_symbol": "BTC-USDT"})
    assert catalogue.get(coin.id).notes == ""


def test_unknown_ids_are_not_found(catalogue: Catalogue) -> None:
    for call in (
        lambda: catalogue.get(10**9), lambda: catalogue.update(10**9, {}), lambda: catalogue.deactivate(10**9),
        lambda: catalogue.get_group(10**9), lambda: catalogue.update_group(10**9, {}),
        lambda: catalogue.delete_group(10**9), lambda: catalogue.put_member(1, 10**9),
        lambda: catalogue.create_group("x", "", [10**9]),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            call()
