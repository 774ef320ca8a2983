"""Login of people, tokens of programs, and what stays open without either."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from database import ApiToken

PASSWORD = "correct horse battery"
BROWSER = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def closed_app(make_small_app: Callable[..., Flask]) -> Flask:
    return make_small_app(admin_password=PASSWORD)


@pytest.fixture
def owner(closed_app: Flask) -> FlaskClient:
    return closed_app.test_client()


def log_in(client: FlaskClient, password: str = PASSWORD, target: str = "/") -> str:
    answer = client.post("/login", data={"password": password, "next": target}, headers=BROWSER)
    return answer.headers.get("Location", str(answer.status_code))


def test_only_health_and_what_the_login_page_needs_stay_open(closed_app: Flask) -> None:
    client = closed_app.test_client(use_cookies=False)
    open_paths = {"/api/health", "/login", "/static/css/bare.css"}
    for path in open_paths:
        with client.get(path) as answer:
            assert answer.status_code == 200, path
    closed = [
        str(rule) for rule in closed_app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and not rule.arguments and str(rule) not in {*open_paths, "/favicon.ico"}
    ]  # fmt: skip
    assert {"/api/coins", "/metrics", "/api/openapi.json", "/api/docs"} <= set(closed)
    for path in closed:
        answer = client.get(path)
        assert answer.status_code in {401, 302}, path
        if answer.status_code == 302:
            assert answer.headers["Location"].startswith("/login?next="), path
    refusal = client.get("/api/coins/1")
    assert (refusal.status_code, refusal.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert client.get("/api/nowhere").status_code == 401
    assert client.put("/api/coins/1", json={"notes": "x"}).status_code == 401
    assert client.post("/api/coins", data="{", content_type="application/json").status_code == 401


def test_a_login_opens_pages_and_routes(owner: FlaskClient) -> None:
    assert log_in(owner, target="/api/docs") == "/api/docs"
    assert owner.get("/api/coins").status_code == 200
    assert owner.put("/api/coins/1", json={"notes": "x"}, headers=BROWSER).status_code == 200
    cookie = owner.get_cookie("curlew_session")
    assert cookie is not None
    assert cookie.http_only
    assert cookie.same_site == "Strict"
    assert "Set-Cookie" not in owner.get("/api/coins").headers
    assert owner.post("/logout", headers=BROWSER).headers["Location"] == "/login"
    assert owner.get("/api/coins").status_code == 401


def test_a_wrong_password_opens_nothing(owner: FlaskClient) -> None:
    for wrong in ("", "correct", PASSWORD + " ", PASSWORD.upper(), "ü€", "x" * 10_000):
        assert log_in(owner, wrong) == "401"
    assert owner.get("/api/coins").status_code == 401


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/\nx"])
def test_a_login_sends_nobody_elsewhere(owner: FlaskClient, target: str) -> None:
    assert log_in(owner, target=target) == "/"


def test_guessing_is_slowed_down(owner: FlaskClient) -> None:
    assert [log_in(owner, "wrong") for _each in range(10)] == ["401"] * 10
    assert log_in(owner, PASSWORD) == "429"


def test_logging_in_often_is_no_guessing(closed_app: Flask) -> None:
    assert [log_in(closed_app.test_client()) for _each in range(20)] == ["/"] * 20


def test_a_new_password_ends_old_logins(make_small_app: Callable[..., Flask], owner: FlaskClient) -> None:
    log_in(owner)
    cookie = owner.get_cookie("curlew_session")
    assert cookie is not None
    headers = {"Cookie": f"curlew_session={cookie.value}"}
    same = make_small_app(admin_password=PASSWORD).test_client(use_cookies=False)
    assert same.get("/api/coins", headers=headers).status_code == 200
    changed = make_small_app(admin_password="another one").test_client(use_cookies=False)
    assert changed.get("/api/coins", headers=headers).status_code == 401


def test_programs_come_with_a_token(closed_app: Flask, owner: FlaskClient) -> None:
    log_in(owner)
    made = owner.post("/api/tokens", json={"name": "a program"}, headers=BROWSER)
    assert made.status_code == 201
    token = made.json["token"]
    program = closed_app.test_client(use_cookies=False)
    headers = {"Authorization": f"Bearer {token}"}
    assert program.get("/api/coins", headers=headers).status_code == 200
    assert program.put("/api/coins/1", json={"notes": "x"}, headers=headers).status_code == 200
    assert program.get("/metrics", headers=headers).status_code == 200
    for wrong in ("Bearer", "Bearer ", f"Bearer {token}x", f"Basic {token}", token, "Bearer é"):
        assert program.get("/api/coins", environ_overrides={"HTTP_AUTHORIZATION": wrong}).status_code == 401
    row = program.get("/api/tokens", headers=headers).json[0]
    assert (row["name"], row["last_used"]) == ("a program", 1_704_067_200_000)
    assert owner.delete(f"/api/tokens/{row['id']}", headers=BROWSER).status_code == 204
    assert program.get("/api/coins", headers=headers).status_code == 401
    assert owner.delete(f"/api/tokens/{row['id']}", headers=BROWSER).status_code == 404


def test_tokens_are_stored_hashed(closed_app: Flask, owner: FlaskClient) -> None:
    log_in(owner)
    token = owner.post("/api/tokens", json={"name": "t"}, headers=BROWSER).json["token"]
    with closed_app.extensions["curlew"].database.read() as session:
        row = session.scalars(select(ApiToken)).one()
    assert token not in repr(vars(row))
    assert "token" not in owner.get("/api/tokens").json[0]
    files = [path for path in closed_app.extensions["curlew"].settings.data_dir.iterdir() if path.is_file()]
    assert files
    assert not [path for path in files if token.encode() in path.read_bytes()]


def test_without_a_password_nobody_logs_in(web: FlaskClient) -> None:
    assert web.get("/login").headers["Location"] == "/"
    assert web.post("/login", data={"password": "x"}).headers["Location"] == "/"
    assert web.get("/api/coins", headers={"Authorization": "Bearer nonsense"}).status_code == 200
