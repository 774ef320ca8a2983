"""The frame of the pages: menu, icon, first numbers, words for the scripts; and what people typed stays text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, text

from database import WANTS_SOMETHING, AiDecision

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient

HOSTILE = "</script><img src=x onerror=alert(1)>"


def page_data(html: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(html.split('id="page-data">')[1].split("</script>")[0])
    return found


@pytest.mark.parametrize("path", ["/", "/charts", "/coins", "/models"])
def test_pages_mark_their_place_in_the_menu(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    current = re.findall(r'<a href="([^"]*)" aria-current="page"', answer.text)
    assert current == [path]
    assert "SIMULATED MARKET" in answer.text


def test_a_page_carries_what_its_frame_shows(client: FlaskClient) -> None:
    data = page_data(client.get("/coins").text)
    assert data["shell"]["market"] == "simulated"
    assert data["shell"]["scheduler"] == "off"  # this app serves only
    assert data["ticks"]["BTC"] > 0
    now = client.get("/api/shell").get_json()
    assert {**now, "now_ms": 0} == {**data["shell"], "now_ms": 0}


def test_the_icon_is_there(client: FlaskClient) -> None:
    with client.get("/favicon.ico") as answer:
        assert answer.status_code == 200
        assert answer.data[:4] == b"\x00\x00\x01\x00"


def test_the_dashboard_of_an_empty_workspace_invents_nothing(client: FlaskClient) -> None:
    answer = client.get("/")
    overview = page_data(answer.text)["overview"]
    assert overview["models"] == overview["positions"] == overview["trades"] == []
    assert overview["totals"]["return_percentage"] is None
    assert overview["totals"]["pnl_today"] is None
    assert len(overview["coins"]) == 10  # the largest coins' prices are known all the same
    assert '<dd class="num" id="total-value">–</dd>' in answer.text


def test_the_overview_shows_the_last_decisions_that_wanted_something(app: Flask, client: FlaskClient) -> None:
    body = {"name": "One", "kind": "hold", "coins": ["BTC"], "initial_capital": 4000.0}
    model_id = client.post("/api/models", json=body).get_json()["id"]
    database = app.extensions["curlew"].database

    def decide(time_ms: int, action: str) -> None:
        with database.write() as session:
            session.add(AiDecision(model_id=model_id, timestamp_ms=time_ms, coin="BTC", action=action))

    def shown() -> list[tuple[int, str]]:
        rows = client.get("/api/overview").get_json()["decisions"]
        return [(row["timestamp"], row["action"]) for row in rows]

    decide(1, "HOLD")
    assert shown() == [(1, "HOLD")]
    decide(2, "LONG")
    with database.write() as session:
        silent = {
            "model_id": model_id,
            "coin": "BTC",
            "action": "HOLD",
            "reasoning": "",
            "executed": False,
            "verdicts": [],
        }
        session.execute(insert(AiDecision), [{**silent, "timestamp_ms": 3 + n} for n in range(500)])
    assert shown() == [(2, "LONG")]
    with database.read() as session:
        query = select(AiDecision.id).where(AiDecision.model_id == model_id, WANTS_SOMETHING)
        sql = str(query.order_by(AiDecision.timestamp_ms.desc()).compile(compile_kwargs={"literal_binds": True}))
        plan = session.execute(text(f"EXPLAIN QUERY PLAN {sql}")).all()
    assert "ix_ai_decisions_wants_something" in str(plan)


def test_the_overview_adds_up(client: FlaskClient) -> None:
    for name, capital in (("One", 4000.0), ("Two", 6000.0)):
        body = {"name": name, "kind": "hold", "coins": ["BTC", "ETH"], "initial_capital": capital}
        assert client.post("/api/models", json=body).status_code == 201
    overview = client.get("/api/overview?equity=50").get_json()
    assert overview["totals"]["models"] == overview["totals"]["running"] == 2
    assert overview["totals"]["total_value"] == overview["totals"]["initial_capital"] == 10_000
    assert overview["totals"]["return_percentage"] == 0
    assert {coin["symbol"] for coin in overview["coins"]} == {"BTC", "ETH"}
    assert [len(model["equity"]) >= 1 for model in overview["models"]] == [True, True]
    assert "equity" not in client.get("/api/overview").get_json()["models"][0]
    assert client.get("/api/overview?equity=-1").status_code == 422


def test_names_that_try_to_be_markup_are_text(client: FlaskClient) -> None:
    assert client.post("/api/coins", json={"symbol": "XSS", "name": HOSTILE}).status_code == 201
    made = client.post("/api/models", json={"name": HOSTILE, "kind": "hold", "coins": ["XSS"]}).get_json()
    for path in ("/", "/models", f"/models/{made['id']}"):
        html = client.get(path).text
        assert "<img src=x" not in html
        page_data(html)  # the block ends where it should
    assert page_data(client.get("/models").text)["overview"]["models"][0]["name"] == HOSTILE


def test_an_unknown_model_is_a_page(client: FlaskClient) -> None:
    answer = client.get("/models/77", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "<h1>404</h1>" in answer.text


def test_scripts_get_their_words_in_the_readers_language(app: Flask, tmp_path: Path) -> None:
    from babel.messages.catalog import Catalog
    from babel.messages.mofile import write_mo

    words = Catalog(locale="de")
    words.add("Dashboard", "Übersicht")
    words.add(("%(num)s coin", "%(num)s coins"), ("%(num)s Münze", "%(num)s Münzen"))
    folder = tmp_path / "translations" / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    with (folder / "messages.mo").open("wb") as target:
        write_mo(target, words)
    configuration = app.extensions["babel"]
    configuration.translation_directories = [str(tmp_path / "translations")]
    client = app.test_client()
    html = client.get("/coins", headers={"Accept-Language": "de,en;q=0.5"}).text
    assert '<html lang="de"' in html
    assert "Übersicht" in html
    address = re.findall(r'<script src="(/i18n/de\.js\?v=[0-9a-f]+)">', html)
    script = client.get(address[0]).text
    known = json.loads(script.split(" = ", 1)[1].rstrip(";\n"))
    assert known["Dashboard"] == "Übersicht"
    assert known["%(num)s coin"] == ["%(num)s Münze", "%(num)s Münzen"]
    assert "/i18n/" not in client.get("/coins", headers={"Accept-Language": "en"}).text
