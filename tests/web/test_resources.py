"""Health, events, providers, exchange accounts, metrics."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from database import AccountSnapshot, Model, Provider
from llm.probe import check_url, probe
from store.events import EventStore
from tests.web.conftest import build_small_app

KEY = "sk-secret-0123456789"


# -- health -------------------------------------------------------------------------------


def test_health_says_what_works(small_app: Flask, web: FlaskClient) -> None:
    assert web.get("/api/health").json == {
        "status": "ok", "market": "simulated", "database": "ok", "scheduler": "off",
        "sources": {"simulated": {"state": "ok", "last_ok": 1_704_067_200_000, "error": None}},
    }  # fmt: skip
    small_app.extensions["curlew"].market.fail("no answer")
    health = web.get("/api/health").json
    assert health["status"] == "degraded"
    assert health["sources"]["simulated"] == {"state": "down", "last_ok": None, "error": "no answer"}


def test_health_answers_without_a_database(small_app: Flask, web: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def fail() -> None:
        raise OperationalError("SELECT 1", {}, Exception("gone"))

    monkeypatch.setattr(small_app.extensions["curlew"].database, "read", fail)
    assert (web.get("/api/health").json["database"], web.get("/api/health").json["status"]) == ("down", "degraded")
    assert web.get("/api/tokens").status_code == 503


# -- events -------------------------------------------------------------------------------


def test_events_newest_first(small_app: Flask, web: FlaskClient) -> None:
    store = EventStore(small_app.extensions["curlew"].database)
    for number in range(5):
        store.add(1000 + number, "risk" if number % 2 else "system", "BTC", None, {"number": number, "ratio": 0.1})
    rows = web.get("/api/events").json
    assert [row["data"]["number"] for row in rows] == [4, 3, 2, 1, 0]
    assert rows[0] == {"id": 5, "timestamp": 1004, "event_type": "system", "symbol": "BTC", "model_id": None,
                       "data": {"number": 4, "ratio": 0.1}}  # fmt: skip
    assert [row["timestamp"] for row in web.get("/api/events?type=risk").json] == [1003, 1001]
    assert [row["timestamp"] for row in web.get("/api/events?since=1003&limit=1").json] == [1004]
    assert web.get("/api/events?type=nonsense").json["field"] == "type"


# -- providers ----------------------------------------------------------------------------


class Endpoint(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint that knows one key, and some bad ones."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        answers = {
            "/v1/models": (200, json.dumps({"data": [{"id": "b"}, {"id": "a"}, {"no": "id"}]})),
            "/text/models": (200, "hello"), "/list/models": (200, "[]"), "/deep/models": (200, "[" * 100_000),
            "/error/models": (500, "broken"), "/moved/models": (302, ""), "/huge/models": (200, "x" * 3_000_000),
        }  # fmt: skip
        status, body = answers.get(self.path, (404, ""))
        if self.path == "/v1/models" and self.headers.get("Authorization") != f"Bearer {KEY}":
            status, body = 401, ""
        if self.path == "/slow/models":
            self.server.patience.wait(10)  # type: ignore[attr-defined]
        if self.path in {"/body/models", "/head/models"}:
            self.trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n" + b"\r\n" * (self.path == "/body/models"))
            return
        if self.path == "/cut/models":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def trickle(self, head: bytes) -> None:
        with suppress(OSError):
            self.wfile.write(head)
            while not self.server.patience.wait(0.05):  # type: ignore[attr-defined]
                self.wfile.write(b"x")

    def log_message(self, *_args: Any) -> None:
        """Keeps quiet."""


@pytest.fixture
def endpoint() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.daemon_threads = True
    server.asked, server.patience = [], threading.Event()  # type: ignore[attr-defined]
    server.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.patience.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_provider_is_tested_by_a_real_call(web: FlaskClient, endpoint: Any) -> None:
    made = web.post("/api/providers", json={"name": "Local", "api_url": f"{endpoint.url}/v1/", "api_key": KEY})
    assert made.status_code == 201
    found = web.post(f"/api/providers/{made.json['id']}/test")
    assert found.status_code == 200
    assert found.json["ok"] is True
    assert found.json["models"] == ["a", "b"]
    assert found.json["error"] is None
    assert 0 <= found.json["latency_ms"] < 10_000
    assert endpoint.asked == [("/v1/models", f"Bearer {KEY}")]
    web.put(f"/api/providers/{made.json['id']}", json={"api_key": None})
    refused = web.post(f"/api/providers/{made.json['id']}/test").json
    assert (refused["ok"], refused["models"], "key was refused" in refused["error"]) == (False, [], True)
    assert endpoint.asked[-1] == ("/v1/models", None)


@pytest.mark.parametrize(
    ("path", "words"),
    [("/nothing", "HTTP 404"), ("/error", "HTTP 500"), ("/moved", "HTTP 302"), ("/text", "not a list of models"),
     ("/list", "not a list of models"), ("/deep", "not a list of models"), ("/huge", "not a list of models")],
)  # fmt: skip
def test_what_a_wrong_address_is_told(endpoint: Any, path: str, words: str) -> None:
    found = probe(endpoint.url + path, KEY)
    assert not found.ok
    assert words in (found.error or "")
    assert len(endpoint.asked) == 1  # a redirect is not followed: it could lead anywhere


def test_this_machine_is_not_asked_through_a_proxy(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert probe(f"{endpoint.url}/v1", KEY).models == ("a", "b")
    assert probe(f"{endpoint.url.replace('127.0.0.1', 'localhost')}/v1", KEY).models == ("a", "b")


def test_a_slow_endpoint_is_given_up(endpoint: Any) -> None:
    assert "no answer within 0.2 s" in (probe(f"{endpoint.url}/slow", None, timeout_s=0.2).error or "")


@pytest.mark.parametrize("path", ["/body", "/head"])
def test_an_endpoint_that_never_ends_is_given_up(endpoint: Any, path: str) -> None:
    """Each of its bytes comes in time, in the header or in the body; all of them never would."""
    began = time.monotonic()
    assert "no answer within 0.5 s" in (probe(f"{endpoint.url}{path}", None, timeout_s=0.5).error or "")
    assert time.monotonic() - began < 2


def test_nobody_there(endpoint: Any) -> None:
    assert "no connection" in (probe("http://127.0.0.1:1/v1", None).error or "")
    assert "no connection" in (probe("http://nowhere.invalid/v1", None).error or "")


def test_an_answer_that_breaks_off(endpoint: Any) -> None:
    assert "no connection" in (probe(f"{endpoint.url}/cut", None).error or "")


def test_an_address_of_the_machinery() -> None:
    assert "machine's network" in (probe("http://169.254.169.254/latest", None).error or "")


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://example.com", "file:///etc/passwd", "javascript:alert(1)", "http://", "https:///v1", "http://[::1",
     "http://user:secret@example.com", "http://example.com/?key=1", "http://example.com/#x", "http://exa mple.com",
     "http://example.com:99999", "http://example.com/\n", "//example.com"],
)  # fmt: skip
def test_an_address_has_a_shape(open_web: FlaskClient, url: str) -> None:
    answer = open_web.post("/api/providers", json={"name": "x", "api_url": url})
    assert (answer.status_code, answer.json["field"]) == (422, "api_url")


def test_loopback_and_https_are_addresses() -> None:
    for url in (
        "http://127.0.0.1:11434/v1",
        "http://localhost:1/v1",
        "https://api.example.com/v1",
        "http://[::1]:8000",
    ):
        check_url(url)


def test_a_key_is_written_and_never_read_back(small_app: Flask, web: FlaskClient) -> None:
    body = {"name": "DeepSeek", "api_url": "https://api.example.com/v1", "api_key": KEY, "models": ["one"]}
    provider = web.post("/api/providers", json=body).json
    assert provider == {
        "id": 1,
        "name": "DeepSeek",
        "api_url": "https://api.example.com/v1",
        "models": ["one"],
        "has_key": True,
    }
    assert web.get("/api/providers").json == [provider]
    parts = small_app.extensions["curlew"]
    with parts.database.read() as session:
        stored = session.scalars(select(Provider)).one().api_key_encrypted
    assert KEY not in stored
    assert parts.secrets.decrypt(stored) == KEY
    key_file = parts.settings.data_dir / "secrets.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    for path in parts.settings.data_dir.iterdir():
        if path.is_file():
            assert KEY.encode() not in path.read_bytes()
    changed = web.put("/api/providers/1", json={"name": "Deep"}).json
    assert (changed["name"], changed["has_key"]) == ("Deep", True)
    assert web.put("/api/providers/1", json={"api_key": None}).json["has_key"] is False
    for key in ("", " ", "k y", "ключ", "k\n", 5):
        assert web.put("/api/providers/1", json={"api_key": key}).json["field"] == "api_key"
    assert web.post("/api/providers", json={**body, "name": "deep"}).status_code == 409
    assert web.delete("/api/providers/1").status_code == 204
    assert web.delete("/api/providers/1").status_code == 404


def add_model(app: Flask, **values: Any) -> int:
    with app.extensions["curlew"].database.write() as session:
        model = Model(
            **{"name": "M", "kind": "hold", "workspace_market": "simulated", "initial_capital": 1000,
               "interval_seconds": 60, "interval": "1h", "trade_fee_rate": 0.001, "settled_ms": 0, "created_ms": 0,
               **values}
        )  # fmt: skip
        session.add(model)
        session.flush()
        return model.id


def test_a_provider_in_use_stays(small_app: Flask, web: FlaskClient) -> None:
    provider = web.post("/api/providers", json={"name": "P", "api_url": "https://api.example.com/v1"}).json
    add_model(small_app, provider_id=provider["id"], kind="llm", name="Thinker")
    answer = web.delete(f"/api/providers/{provider['id']}")
    assert (answer.status_code, "Thinker" in answer.json["error"]) == (409, True)


def test_provider_tests_are_limited(web: FlaskClient) -> None:
    web.post("/api/providers", json={"name": "P", "api_url": "http://127.0.0.1:1/v1"})
    statuses = [web.post("/api/providers/1/test").status_code for _each in range(12)]
    assert statuses == [200] * 10 + [429] * 2


# -- exchange accounts, metrics -----------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/account/balance", "/api/account/positions"])
def test_exchange_accounts_say_what_is_missing(settings: Any, web: FlaskClient, path: str) -> None:
    answer = web.get(path)
    assert (answer.status_code, "BINANCE_API_KEY" in answer.json["error"]) == (409, True)
    with_keys = build_small_app(settings.model_copy(update={"okx_api_key": type(settings.okx_api_key)("k")}))
    assert with_keys.test_client().get(path).status_code == 503


def test_metrics_count(small_app: Flask, web: FlaskClient) -> None:
    model = add_model(small_app, name='Odd "name"\n')
    with small_app.extensions["curlew"].database.write() as session:
        amounts = {"balance": 1, "unrealized_pnl": 0, "margin_used": 0}
        for time_ms, equity in ((1, 10), (2, 20)):
            session.add(AccountSnapshot(model_id=model, timestamp_ms=time_ms, equity=equity, **amounts))
    for coin_id in (1, 2, 999_999):
        web.get(f"/api/coins/{coin_id}")
    web.open("/nowhere", method="STRANGE")
    text = web.get("/metrics").text
    route = 'route="/api/coins/<int:coin_id>"'
    assert f'curlew_http_requests_total{{method="GET",{route},status="200"}} 2.0' in text
    assert f'curlew_http_requests_total{{method="GET",{route},status="404"}} 1.0' in text
    assert 'method="other"' in text
    assert "STRANGE" not in text
    assert 'curlew_models{status="running"} 1.0' in text
    assert 'curlew_cache_lookups_total{result="hit"} 3.0' in text
    assert 'curlew_cache_lookups_total{result="miss"} 1.0' in text
    assert f'curlew_model_equity_dollars{{id="{model}",name="Odd \\"name\\"\\n"}} 20.0' in text
    assert f"curlew_http_request_seconds_count{{{route}}} 3.0" in text
