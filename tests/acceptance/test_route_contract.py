"""What the contract says of the backtest route besides money: dates, defaults, settings, errors, the life of a run."""

from __future__ import annotations

import copy
import csv
import io
import json
import time
from typing import Any

import pytest

from tests.acceptance.lab import START, Lab, at, cross, gated, table
from tests.oracle.reference import HOUR, Candle

DAY = 24 * HOUR


def body(coin: str, **wanted: Any) -> dict[str, Any]:
    return {"strategy": gated(), "coins": [coin], "start_date": "2024-01-01", "end_date": "2024-01-31", **wanted}


def flat(hours: int, start: int = START) -> list[Candle]:
    return [Candle(start + i * HOUR, 100.0, 101.0, 99.0, 100.0) for i in range(hours)]


@pytest.fixture(scope="module")
def month(lab: Lab) -> str:
    """Four days of hours with a buy and a sell on each."""
    candles = []
    for i, candle in enumerate(flat(96)):
        hour, volume = i % 24, 10.0 if i % 24 in (5, 15) else 1.0
        close = {5: 101.0, 15: 99.0}.get(hour, 100.0)
        candles.append(Candle(candle.time, 100.0, 101.0, 99.0, close, volume))
    return lab.store(candles)


def done(lab: Lab, asked: dict[str, Any]) -> dict[str, Any]:
    answer = lab.ask(asked)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    report: dict[str, Any] = answer.get_json()
    return report


# -- the span ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("2024-01-02", "2024-01-03", 24, 71),
        ("2024-01-02", "2024-01-02", 24, 47),
        ("2024-01-01", "2024-12-31", 0, 95),
        (at(30), at(40), 30, 40),
        (at(30), at(30), 30, 30),
        ("2024-01-02", at(40), 24, 40),
        (at(30), "2024-01-02", 30, 47),
    ],
)
def test_dates_are_utc_days_and_stamps_are_bar_opens_both_inclusive(
    lab: Lab, month: str, start: Any, end: Any, first: int, last: int
) -> None:
    report = done(lab, body(month, start_date=start, end_date=end))
    [data] = report["data"]
    assert (data["first"], data["last"], data["rows"]) == (at(first), at(last), last - first + 1)
    assert [row["timestamp"] for row in report["account_values"]] == [at(i) for i in range(first, last + 1)]


def test_candles_before_the_start_warm_up_and_the_first_close_may_decide(lab: Lab) -> None:
    """A cross of 2 over 5 on the first bar of the span: five bars of history tell."""
    closes = [100.0] * 10 + [110.0] + [110.0] * 5
    candles = [Candle(at(i), c, c, c, c) for i, c in enumerate(closes)]
    coin = lab.store(candles)
    report = done(lab, body(coin, strategy=cross(2, 5), start_date=at(10), end_date=at(15)))
    assert [row["entry_time"] for row in report["trades"]] == [at(11)]
    without = lab.store(candles[10:])
    assert done(lab, body(without, strategy=cross(2, 5), start_date=at(10), end_date=at(15)))["trades"] == []


def test_a_signal_before_the_span_does_not_fill_in_it(lab: Lab) -> None:
    coin = lab.store(table("100 100 100 100\n100 101 100 101 B\n100 100 100 100\n100 100 100 100"))
    assert done(lab, body(coin, start_date=at(2), end_date=at(3)))["trades"] == []
    assert len(done(lab, body(coin, start_date=at(1), end_date=at(3)))["trades"]) == 1


# -- silent fields ------------------------------------------------------------------------------------


def test_silent_fields_are_filled_in_and_told(lab: Lab, month: str) -> None:
    told = done(lab, body(month))["settings"]
    expected = {
        "coins": [month], "start_date": "2024-01-01", "end_date": "2024-01-31", "interval": "1h", "venue": "binance",
        "market": "spot", "initial_capital": 10000, "trade_fee_rate": 0.001, "maker_fee_rate": 0.001,
        "slippage_bps": 0, "leverage": 1, "position_size_percent": 100, "fill_price": "next_open",
        "funding": "auto",
    }  # fmt: skip
    assert {name: told[name] for name in expected} == expected
    for name in ("stop_loss_percent", "take_profit_percent", "trailing_stop_percent", "detail_interval"):
        assert not told[name]
    assert told["strategy"]["buy_groups"]


def test_the_maker_fee_is_the_takers_unless_said(lab: Lab, month: str) -> None:
    assert done(lab, body(month, trade_fee_rate=0.002))["settings"]["maker_fee_rate"] == 0.002
    both = body(month, trade_fee_rate=0.002, maker_fee_rate=0.0001)
    assert done(lab, both)["settings"]["maker_fee_rate"] == 0.0001


def test_the_size_is_shared_by_the_number_of_coins(lab: Lab) -> None:
    coins = [lab.store(table("100 100 100 100\n100 101 100 101 B\n100 100 100 100")) for _ in range(4)]
    report = done(lab, {**body(""), "coins": coins, "trade_fee_rate": 0})
    assert report["settings"]["position_size_percent"] == 25
    assert [row["quantity"] for row in report["trades"]] == [pytest.approx(25)] * 4


def test_the_only_stored_venue_and_market_is_taken(lab: Lab) -> None:
    name = lab.name()
    for place, (venue, folder, symbol) in enumerate([("okx", "swap", f"{name}-USDT-SWAP")]):
        lab.write(flat(30), lab.folder / f"{name}-{place}" / venue / folder / symbol / "1h.parquet")
        lab.command("candles", "import", lab.folder / f"{name}-{place}")
    told = done(lab, body(name))["settings"]
    assert (told["venue"], told["market"]) == ("okx", "perp")


def test_binance_spot_where_several_are_stored(lab: Lab) -> None:
    name = lab.store(flat(30))
    lab.write(flat(30), lab.folder / f"{name}-um" / "binance" / "um" / f"{name}USDT" / "1h.parquet")
    lab.command("candles", "import", lab.folder / f"{name}-um")
    told = done(lab, body(name))["settings"]
    assert (told["venue"], told["market"]) == ("binance", "spot")
    assert done(lab, body(name, market="perp"))["data"][0]["market"] == "perp"


# -- the report -----------------------------------------------------------------------------------------


def test_the_hash_is_of_the_candles_and_counts_are_told(lab: Lab) -> None:
    candles = flat(50)
    first, same = lab.store(candles), lab.store(candles)
    other = lab.store([*candles[:-1], Candle(candles[-1].time, 100, 101, 99, 100.5)])
    holey = lab.store([c for i, c in enumerate(candles) if i not in (10, 11, 20)])
    [a], [b], [c], [d] = (done(lab, body(coin))["data"] for coin in (first, same, other, holey))
    assert len(a["sha256"]) == 64
    assert a["sha256"] == b["sha256"] != c["sha256"]
    assert (a["rows"], a["gaps"], d["rows"], d["gaps"]) == (50, 0, 47, 2)
    assert (a["venue"], a["market"], a["symbol"]) == ("binance", "spot", f"{first}USDT")


def test_optimistic_fill_prices_are_flagged(lab: Lab, month: str) -> None:
    for mode, flagged in (("next_open", False), ("close", True), ("mid", True)):
        engine = done(lab, body(month, fill_price=mode))["engine"]
        assert engine["optimistic"] is flagged
        assert any("optimistic" in note for note in engine["notes"]) is flagged


def test_the_report_owns_up_to_assumptions(lab: Lab, month: str) -> None:
    assert any("funding" in note for note in done(lab, body(month, leverage=2))["engine"]["notes"])
    assert any("spot" in note for note in done(lab, body(month, leverage=2))["engine"]["notes"])


def test_a_long_curve_is_thinned_to_5000_points_that_keep_the_extremes(lab: Lab) -> None:
    closes = [100.0] * 12_000
    closes[7001], closes[9003] = 180.0, 20.0
    closes[1] = 101.0
    candles = [Candle(at(i), c, c, c, c, 10.0 if i == 1 else 1.0) for i, c in enumerate(closes)]
    coin = lab.store(candles)
    report = done(lab, body(coin, trade_fee_rate=0, end_date="2026-01-01"))
    values = report["account_values"]
    assert len(values) <= 5000
    stamps = [row["timestamp"] for row in values]
    assert stamps == sorted(set(stamps))
    assert (stamps[0], stamps[-1]) == (at(0), at(11_999))
    assert {at(7001), at(9003)} <= set(stamps)
    assert max(row["value"] for row in values) == pytest.approx(18_000)
    assert min(row["value"] for row in values) == pytest.approx(2_000)
    assert report["summary"]["max_drawdown"] == pytest.approx(100 * 16_000 / 18_000)


# -- the life of a run --------------------------------------------------------------------------------------


def wait_for(lab: Lab, url: str) -> dict[str, Any]:
    for _ in range(600):
        row: dict[str, Any] = lab.client.get(url).get_json()
        if row["status"] not in ("queued", "running"):
            return row
        time.sleep(0.05)
    raise AssertionError("a backtest of four days did not end")


def test_202_then_the_same_report_then_gone(lab: Lab, month: str) -> None:
    answer = lab.ask(body(month), wait=False)
    assert answer.status_code == 202
    begun = answer.get_json()
    assert set(begun) == {"id", "status", "url"}
    row = wait_for(lab, begun["url"])
    assert (row["id"], row["status"], row["progress"]) == (begun["id"], "done", 1)
    direct = done(lab, body(month))
    for part in ("summary", "trades", "account_values", "data", "settings"):
        assert row["report"][part] == direct[part]
    assert begun["id"] in [item["id"] for item in lab.client.get("/api/backtests").get_json()]
    assert lab.client.delete(begun["url"]).status_code in (200, 204)
    gone = lab.client.get(begun["url"])
    assert gone.status_code == 404
    assert gone.get_json()["error"]


def test_csv_files_are_whole(lab: Lab, month: str) -> None:
    begun = lab.ask(body(month), wait=False).get_json()
    report = wait_for(lab, begun["url"])["report"]
    trades = lab.client.get(begun["url"] + "/trades.csv")
    assert trades.mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO(trades.get_data(as_text=True))))
    assert len(rows) == len(report["trades"]) == 4
    for row, told in zip(rows, report["trades"], strict=True):
        for name in ("quantity", "entry_price", "pnl", "fee"):
            assert float(row[name]) == pytest.approx(told[name], rel=1e-12)
    equity = list(csv.DictReader(io.StringIO(lab.client.get(begun["url"] + "/equity.csv").get_data(as_text=True))))
    assert len(equity) == 96
    assert float(equity[-1]["value"]) == pytest.approx(report["summary"]["final_value"], rel=1e-12)


def test_reports_outlive_a_restart(lab: Lab, month: str) -> None:
    from app import create_app

    begun = lab.ask(body(month), wait=False).get_json()
    before = wait_for(lab, begun["url"])
    again = create_app(lab.app.extensions["curlew"].settings)
    after = again.test_client(use_cookies=False).get(begun["url"]).get_json()
    assert after == before


def test_the_command_prints_the_routes_report(lab: Lab, month: str) -> None:
    asked = body(month, stop_loss_percent=1, leverage=2)
    path = lab.folder / "request.json"
    path.write_text(json.dumps(asked), encoding="utf-8")
    printed = json.loads(lab.command("backtest", "run", path, "--json"))
    report = done(lab, asked)
    assert set(printed) == set(report)
    for part in ("summary", "trades", "account_values", "data", "settings"):
        assert printed[part] == report[part]


def test_a_stored_strategy_runs_as_the_one_sent(lab: Lab, month: str) -> None:
    created = lab.client.post("/api/strategies", json=gated("both"))
    assert created.status_code == 201, created.get_data(as_text=True)
    asked = body(month)
    del asked["strategy"]
    stored = done(lab, {**asked, "strategy_id": created.get_json()["id"]})
    sent = done(lab, {**asked, "strategy": gated("both")})
    assert stored["trades"] == sent["trades"]
    assert stored["trades"]


# -- errors ---------------------------------------------------------------------------------------------------

WRONG = [
    ({"coins": []}, "coins"),
    ({"coins": "BTC"}, "coins"),
    ({"coins": None}, "coins"),
    ({"coins": ["NOSUCHCOIN"]}, "coins"),
    ({"start_date": "yesterday"}, "start_date"),
    ({"start_date": "2024-02-30"}, "start_date"),
    ({"start_date": None}, "start_date"),
    ({"start_date": "2024-01-31", "end_date": "2024-01-01"}, ("start_date", "end_date")),
    ({"start_date": "2030-01-01", "end_date": "2030-01-31"}, ("start_date", "end_date")),
    ({"end_date": True}, "end_date"),
    ({"interval": "7m"}, "interval"),
    ({"interval": "15m"}, ("interval", "coins")),
    ({"venue": "mtgox"}, ("venue", "coins")),
    ({"market": "casino"}, "market"),
    ({"initial_capital": 0}, "initial_capital"),
    ({"initial_capital": -5}, "initial_capital"),
    ({"initial_capital": "much"}, "initial_capital"),
    ({"trade_fee_rate": -0.001}, "trade_fee_rate"),
    ({"trade_fee_rate": 2}, "trade_fee_rate"),
    ({"maker_fee_rate": -1}, "maker_fee_rate"),
    ({"slippage_bps": -1}, "slippage_bps"),
    ({"slippage_bps": 1e9}, "slippage_bps"),
    ({"leverage": 0}, "leverage"),
    ({"leverage": -2}, "leverage"),
    ({"leverage": 1e9}, "leverage"),
    ({"position_size_percent": -1}, "position_size_percent"),
    ({"position_size_percent": "all"}, "position_size_percent"),
    ({"fill_price": "best"}, "fill_price"),
    ({"stop_loss_percent": -1}, "stop_loss_percent"),
    ({"take_profit_percent": -1}, "take_profit_percent"),
    ({"trailing_stop_percent": -1}, "trailing_stop_percent"),
    ({"maintenance_margin_rate": 1}, "maintenance_margin_rate"),
    ({"maintenance_margin_rate": -0.1}, "maintenance_margin_rate"),
    ({"funding": "sometimes"}, "funding"),
    ({"detail_interval": "1d"}, "detail_interval"),
    ({"detail_interval": "soon"}, "detail_interval"),
    ({"strategy": 7}, "strategy"),
    ({"strategy": {**gated(), "direction": "sideways"}}, None),
    ({"strategy": None}, None),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "field"), WRONG, ids=[json.dumps(wrong)[:60] for wrong, _ in WRONG])
def test_a_wrong_value_is_422_and_named(lab: Lab, month: str, wrong: dict[str, Any], field: Any) -> None:
    answer = lab.ask(body(month) | wrong)
    assert answer.status_code == 422, answer.get_data(as_text=True)[:300]
    told = answer.get_json()
    assert told["error"]
    assert "Traceback" not in told["error"]
    if field is not None:
        allowed = (field,) if isinstance(field, str) else field
        assert str(told.get("field", "")).split(".")[0] in allowed, told


def test_a_wrong_condition_is_named_by_its_path(lab: Lab, month: str) -> None:
    strategy = copy.deepcopy(gated())
    strategy["buy_groups"][0]["conditions"][1]["params"]["period"] = -3
    told = lab.ask(body(month, strategy=strategy))
    assert told.status_code == 422
    assert told.get_json()["field"].endswith("buy_groups.0.conditions.1.params.period")


def test_unknown_strategies_and_models_are_not_500(lab: Lab, month: str) -> None:
    for name in ("strategy_id", "model_id"):
        asked = body(month)
        del asked["strategy"]
        answer = lab.ask({**asked, name: 987_654})
        assert answer.status_code in (404, 422)
        assert answer.get_json()["error"]


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"{", "application/json", 400), (b"[]", "application/json", (400, 422)), (b"{}", "application/json", 422),
        (b"coins=BTC", "application/x-www-form-urlencoded", 415), (b"", "text/plain", 400),
        (b'{"initial_capital": NaN}', "application/json", (400, 422)), (b"\xff\xfe", "application/json", 400),
    ],
)  # fmt: skip
def test_a_bad_body(lab: Lab, data: bytes, kind: str, status: Any) -> None:
    answer = lab.client.post("/api/backtest/run", data=data, content_type=kind)
    assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.get_data(as_text=True)
    assert answer.get_json()["error"]


def test_unknown_backtests_are_404(lab: Lab) -> None:
    for method, path in (("get", ""), ("delete", ""), ("get", "/trades.csv"), ("get", "/equity.csv")):
        answer = getattr(lab.client, method)(f"/api/backtests/987654{path}")
        assert answer.status_code == 404
        assert answer.get_json()["error"]


def test_the_command_fails_with_a_status_and_words(lab: Lab, month: str) -> None:
    runner = lab.app.test_cli_runner()
    path = lab.folder / "wrong.json"
    for text in ("{", json.dumps(body(month, leverage=-1)), json.dumps(body("NOSUCH"))):
        path.write_text(text, encoding="utf-8")
        result = runner.invoke(args=["backtest", "run", str(path), "--json"])
        assert result.exit_code != 0
        assert "Traceback" not in result.output
        assert result.output.strip()
    assert runner.invoke(args=["backtest", "run", str(lab.folder / "none.json")]).exit_code != 0


def test_importing_again_changes_nothing_and_replacing_changes_the_hash(lab: Lab) -> None:
    candles = flat(40)
    name = lab.store(candles)
    [before] = done(lab, body(name))["data"]
    lab.store(candles, name=name)
    changed = [*candles[:-1], Candle(candles[-1].time, 100, 101, 99, 100.75)]
    lab.store(changed, name=name)
    assert done(lab, body(name))["data"] == [before]
    lab.command("candles", "import", lab.folder / name, "--replace")
    [after] = done(lab, body(name))["data"]
    assert after["sha256"] != before["sha256"]
    assert {**after, "sha256": ""} == {**before, "sha256": ""}
