"""Bad input gets the contract's errors: a status, words, the field; never a 500, never a stack trace."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from domain import errors
from tests.web.conftest import build_small_app

JSON = "application/json"


def refused(answer: Any, status: int, field: str | None = None) -> str:
    assert answer.status_code == status, answer.text
    assert answer.mimetype == JSON
    content = answer.json
    assert set(content) <= {"error", "field"}
    assert content.get("field") == field
    assert "Traceback" not in answer.text
    return str(content["error"])


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"}", b"nonsense", b"'single'", b'{"symbol": }', b'{"symbol": "A",}', b"\xff\xfe",
     b"\xef\xbb\xbf{}", b"\x00", b'{"market_cap_rank": NaN}', b'{"market_cap_rank": Infinity}',
     b'{"market_cap_rank": -Infinity}',
     b'{"symbol": "A", "symbol": "B"}', b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500, b"[" * 100 + b"]" * 100,
     b'{"market_cap_rank": ' + b"9" * 5000 + b"}", '{"symbol": "A"}'.encode("utf-16")],
    ids=range(19),
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/coins"), ("PUT", "/api/coins/1"), ("POST", "/api/tokens")])
def test_what_is_not_json_is_400(open_web: FlaskClient, method: str, path: str, raw: bytes) -> None:
    refused(open_web.open(path, method=method, data=raw, content_type=JSON), 400)


def test_routes_without_a_body_take_no_wrong_one_either(open_web: FlaskClient) -> None:
    refused(open_web.delete("/api/coin-groups/999", data=b"{", content_type=JSON), 400)
    refused(open_web.put("/api/coin-groups/1/coins/1", data=b"{", content_type=JSON), 400)
    refused(open_web.put("/api/coin-groups/1/coins/1", data=b"x", content_type="text/plain"), 415)


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/html", "json"],
)
def test_another_content_type_is_415(open_web: FlaskClient, kind: str) -> None:
    refused(open_web.post("/api/coins", data=b'{"symbol": "A", "name": "A"}', headers={"Content-Type": kind}), 415)


def test_a_body_sent_in_chunks_is_a_body(open_web: FlaskClient) -> None:
    from io import BytesIO

    def send(raw: bytes, kind: str) -> Any:
        environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": BytesIO(raw), "wsgi.input_terminated": True}
        return open_web.put("/api/coins/1", content_type=kind, environ_overrides=environ)

    refused(send(b"{", JSON), 400)
    refused(send(b"{}", "text/plain"), 415)
    assert send(b"{}", JSON).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [([], None), ("text", None), (5, None), (None, None), ({}, "symbol"), ({"symbol": "A"}, "name"),
     ({"symbol": 5, "name": "A"}, "symbol"), ({"symbol": None, "name": "A"}, "symbol"),
     ({"symbol": "A", "name": ""}, "name"), ({"symbol": "A", "name": "   "}, "name"),
     ({"symbol": "", "name": "A"}, "symbol"),
     ({"symbol": "A B", "name": "A"}, "symbol"), ({"symbol": "A/B", "name": "A"}, "symbol"),
     ({"symbol": "A" * 21, "name": "A"}, "symbol"), ({"symbol": "<b>", "name": "A"}, "symbol"),
     ({"symbol": "..", "name": "A"}, "symbol"), ({"symbol": "A\n", "name": "A"}, "symbol"),
     ({"symbol": "A", "name": "A\x00"}, "name"), ({"symbol": "A", "name": "\ud800"}, "name"),
     ({"symbol": "A", "name": "A", "tags": ["a", "\udfff"]}, "tags.1"),
     ({"symbol": "A", "name": "A", "is_active": 1}, "is_active"),
     ({"symbol": "A", "name": "A", "is_active": "true"}, "is_active"),
     ({"symbol": "A", "name": "A", "market_cap_rank": "5"}, "market_cap_rank"),
     ({"symbol": "A", "name": "A", "market_cap_rank": True}, "market_cap_rank"),
     ({"symbol": "A", "name": "A", "market_cap_rank": 1.5}, "market_cap_rank"),
     ({"symbol": "A", "name": "A", "market_cap_rank": 0}, "market_cap_rank"),
     ({"symbol": "A", "name": "A", "market_cap_rank": 2**63}, "market_cap_rank"),
     ({"symbol": "A", "name": "A", "market_cap_rank": 10**300}, "market_cap_rank"),
     ({"symbol": "A", "name": "A", "tags": "a"}, "tags"), ({"symbol": "A", "name": "A", "tags": {"a": 1}}, "tags"),
     ({"symbol": "A", "name": "A", "nonsense": 1}, "nonsense"), ({"symbol": "A", "name": "A", "id": 1}, "id"),
     ({"symbol": "A", "name": "A", "\ud800": 1}, None)],
)  # fmt: skip
def test_a_wrong_value_is_422_and_named(open_web: FlaskClient, body: Any, field: str | None) -> None:
    refused(open_web.post("/api/coins", data=json.dumps(body), content_type=JSON), 422, field)


def test_the_branches_of_a_union_are_no_part_of_a_fields_name(open_web: FlaskClient) -> None:
    for member in (1.5, "A B", None):
        refused(open_web.post("/api/coin-groups", json={"name": "A", "coins": ["BTC", member]}), 422, "coins.1")
    body = {"strategy_id": 1, "coins": ["BTC"], "start_date": 1.5, "end_date": "2024-12-31"}
    refused(open_web.post("/api/backtest/run", json=body), 422, "start_date")


def test_a_number_that_no_float_holds_is_422(open_web: FlaskClient) -> None:
    refused(open_web.post("/api/coins", data=b'{"market_cap_rank": 1e999}', content_type=JSON), 422, "market_cap_rank")


def test_an_unknown_field_is_told_the_known_ones(open_web: FlaskClient) -> None:
    words = refused(open_web.post("/api/tokens", json={"name": "x", "nmae": "y"}), 422, "nmae")
    assert "Known are: name" in words


@pytest.mark.parametrize(
    ("query", "field"),
    [("is_active=2", "is_active"), ("is_active=true", "is_active"), ("nonsense=1", "nonsense"), ("q=a&q=b", "q"),
     ("q=%00", "q"), ("q=a%00b", "q")],
)  # fmt: skip
def test_a_wrong_query_is_422_and_named(open_web: FlaskClient, query: str, field: str) -> None:
    refused(open_web.get(f"/api/coins?{query}"), 422, field)


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "1.5", "nan", "9" * 30, "1e3"])
def test_a_limit_has_limits(open_web: FlaskClient, limit: str) -> None:
    refused(open_web.get(f"/api/events?limit={limit}"), 422, "limit")


def test_an_empty_query_parameter_is_an_absent_one(open_web: FlaskClient) -> None:
    assert open_web.get("/api/coins?category=&is_active=&q=").json == open_web.get("/api/coins").json


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/nowhere", "/api/coins/0", "/api/coins/999999", "/api/coins/-1", "/api/coins/x",
     f"/api/coins/{2**63 - 1}", f"/api/coins/{2**63}", f"/api/coins/{'9' * 500}", "/api/coins/%00", "/api/coins/%ff",
     "/api/coins/1/more", "/api/coin-groups/99999999999999999999", "/api/tokens/%F0%9F%98%80"],
)  # fmt: skip
def test_an_unknown_address_is_404(open_web: FlaskClient, path: str) -> None:
    refused(open_web.get(path), 404)


def test_a_wrong_method_is_405_and_told_the_right_ones(open_web: FlaskClient) -> None:
    for method in ("PATCH", "PUT", "DELETE", "TRACE", "NONSENSE"):
        answer = open_web.open("/api/coins", method=method)
        refused(answer, 405)
        assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}
    assert open_web.head("/api/coins").status_code == 200


def test_a_huge_body_is_413(open_web: FlaskClient) -> None:
    huge = json.dumps({"symbol": "A", "name": "A", "notes": "x" * 3_000_000})
    refused(open_web.post("/api/coins", data=huge, content_type=JSON), 413)


def test_pages_get_their_errors_as_pages_and_escaped(open_web: FlaskClient) -> None:
    answer = open_web.get("/nowhere", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert answer.mimetype == "text/html"
    assert "<h1>404</h1>" in answer.text
    assert refused(open_web.get("/nowhere", headers={"Accept": JSON}), 404)


RAISED = [
    (errors.InvalidValue("wrong", field="a.b"), 422, "a.b"), (errors.NotFound("gone"), 404, None),
    (errors.Conflict("taken", field="name"), 409, "name"), (errors.NoSource("none"), 503, None),
    (errors.Retryable("later"), 503, None), (errors.Refused("no"), 422, None), (errors.BadData("bad"), 422, None),
    (errors.Misconfigured("set it"), 503, None), (errors.Cancelled("stopped"), 409, None),
    (errors.CurlewError("odd"), 500, None),
]  # fmt: skip


@pytest.fixture
def raising(settings: Any) -> Any:
    """A client of an app with routes that raise what they are told to."""
    from web.openapi import documented

    app: Flask = build_small_app(settings)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    todo: list[Exception] = []

    @documented(answer=None)
    def fail() -> None:
        raise todo.pop()

    app.add_url_rule("/api/fail", "fail", fail)
    app.add_url_rule("/fail", "fail_page", fail)
    client = app.test_client()

    def call(error: Exception, path: str = "/api/fail") -> Any:
        todo.append(error)
        return client.get(path)

    return call


@pytest.mark.parametrize(("error", "status", "field"), RAISED, ids=lambda value: str(value))
def test_errors_answer_by_their_consequence(raising: Any, error: Exception, status: int, field: str | None) -> None:
    assert refused(raising(error), status, field) == str(error)


def test_a_database_that_is_busy_is_asked_again_later(raising: Any) -> None:
    for error in (OperationalError("SELECT 1", {}, Exception("database is locked")), NoConnection("the pool is empty")):
        assert "try again" in refused(raising(error), 503, None)


def test_what_nobody_expected_says_nothing_of_itself(raising: Any) -> None:
    for error in (
        RuntimeError("secret detail"),
        OperationalError("SELECT secret", {}, Exception("secret")),
        KeyError("secret"),
    ):
        answer = raising(error)
        assert answer.status_code in {500, 503}
        assert "secret" not in answer.text
        page = raising(error, "/fail")
        assert page.status_code in {500, 503}
        assert "secret" not in page.text


def test_an_upload_is_no_json_and_has_a_limit_of_its_own(settings: Any) -> None:
    from io import BytesIO

    from flask import Response, request

    from web.answers import render
    from web.openapi import documented

    app: Flask = build_small_app(settings)

    app.config["MAX_CONTENT_LENGTH"] = 10_000

    @documented(answer=None, upload={"files": "Files"}, max_upload_bytes=100_000)
    def take() -> Response:
        return render([len(file.read()) for file in request.files.getlist("files")])

    app.add_url_rule("/api/take", "take", take, methods=["POST"])
    client = app.test_client()

    def send(size: int) -> Any:
        return client.post("/api/take", data={"files": [(BytesIO(b"x" * size), "a.csv"), (BytesIO(b"y"), "b.csv")]})

    assert send(50_000).json == [50_000, 1]  # more than JSON may have
    refused(send(100_001), 413)
    assert client.post("/api/take", headers={"Origin": "http://evil.example"}).status_code == 403


def test_numbers_are_whole_and_never_nan() -> None:
    from dataclasses import dataclass
    from decimal import Decimal

    import numpy as np

    from web.answers import to_json

    @dataclass(frozen=True)
    class Row:
        value: float
        deep: tuple[float, ...]

    rows = [
        Row(0.1 + 0.2, (float("nan"), float("inf"))),
        {"d": Decimal("0.1"), "n": np.float64(1 / 3), "i": np.int64(2**62)},
    ]
    assert json.loads(to_json(rows)) == [
        {"value": 0.30000000000000004, "deep": [None, None]}, {"d": 0.1, "n": 1 / 3, "i": 2**62},
    ]  # fmt: skip
    assert to_json(np.array([1.5, np.nan])) == "[1.5,null]"
    with pytest.raises(TypeError):
        to_json(object())


def test_an_undocumented_route_stops_the_start(small_app: Flask) -> None:
    from web.openapi import register_documentation

    other = Flask("other")
    other.add_url_rule("/api/secret", "secret", lambda: "x")
    with pytest.raises(RuntimeError, match="/api/secret"):
        register_documentation(other)


@pytest.mark.parametrize(
    ("path", "body", "field", "words"),
    [
        ("/api/coins", {"symbol": "A B/<b>", "name": "x"}, "symbol", "use 1 to 20 letters, digits, . - _"),
        ("/api/coins", {"symbol": "A", "name": "  "}, "name", "it must not be blank"),
        ("/api/coins", {"symbol": "A", "name": "x" * 81}, "name", "use 80 characters at most"),
        ("/api/coins", {"symbol": "A", "name": "x", "market_cap_rank": 0}, "market_cap_rank", "use 1 or more"),
        ("/api/coins", {"symbol": "A", "name": "x", "market_cap_rank": 10**7}, "market_cap_rank",
         "use 1,000,000 or less"),
    ],
)  # fmt: skip
def test_frequent_complaints_speak_to_people(
    open_web: FlaskClient, path: str, body: dict[str, Any], field: str, words: str
) -> None:
    assert refused(open_web.post(path, json=body), 422, field) == f"'{field}' is not valid: {words}."
