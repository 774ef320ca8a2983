"""Who may call: hosts, origins, cookies, headers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from config import Settings
from domain.errors import Misconfigured
from web.security import check_bind, secret_key

LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FRAME = {**LINK, "Sec-Fetch-Dest": "iframe"}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "[::1]"])
def test_this_machine_is_known_by_its_loopback_names(open_web: FlaskClient, host: str) -> None:
    assert open_web.get("/api/coins", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost:5000:1", "a b",
     "user@localhost", "localhost/x", "[::1", "", "::1", "0x7f000001", "localhost\x00"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/coins", "/api/health", "/", "/static/css/bare.css", "/nowhere", "/metrics"])
def test_an_unknown_host_is_400_whatever_it_asks_for(open_web: FlaskClient, host: str, path: str) -> None:
    answer = open_web.get(path, environ_overrides={"HTTP_HOST": host})
    assert answer.status_code == 400
    assert "ALLOWED_HOSTS" in answer.text


def test_host_and_allowed_hosts_are_known(make_small_app: Callable[..., Flask]) -> None:
    app = make_small_app(host="192.0.2.7", allowed_hosts="curlew.example, [2001:db8::1]", admin_password="x")
    client = app.test_client()
    for host in ("192.0.2.7:5000", "curlew.example", "CURLEW.example:443", "[2001:db8::1]:5000"):
        assert client.get("/api/health", headers={"Host": host}).status_code == 200, host
    assert client.get("/api/health", headers={"Host": "other.example"}).status_code == 400


OWN = [{"Origin": "http://localhost"}, {"Origin": "https://localhost"}, {"Sec-Fetch-Site": "same-origin"},
       {"Sec-Fetch-Site": "none"}, {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},
       {"Referer": "http://localhost/coins"}, {}]  # fmt: skip
FOREIGN = [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": ""}, {"Origin": "http://localhost:81"},
           {"Origin": "http://localhost.evil.example"}, {"Origin": "file://"}, {"Origin": "http://[::1"},
           {"Origin": "http://localhost:99999"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
           {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
           {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}]  # fmt: skip
CHANGES = [("POST", "/api/coins"), ("PUT", "/api/coins/1"), ("DELETE", "/api/coins/1"), ("POST", "/api/tokens"),
           ("POST", "/login"), ("POST", "/logout")]  # fmt: skip


@pytest.mark.parametrize("headers", OWN)
def test_programs_and_our_own_pages_may_change_things(open_web: FlaskClient, headers: dict[str, str]) -> None:
    assert open_web.put("/api/coins/1", json={"notes": "x"}, headers=headers).status_code == 200
    assert open_web.get("/api/coins", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_foreign_pages_change_nothing(open_web: FlaskClient, method: str, path: str, headers: dict[str, str]) -> None:
    answer = open_web.open(path, method=method, json={"symbol": "EVIL", "name": "Evil"}, headers=headers)
    assert answer.status_code == 403
    assert open_web.get("/api/coins?q=EVIL").json == []


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("path", ["/api/coins", "/api/health", "/metrics", "/api/openapi.json", "/static/css/bare.css"])
def test_foreign_pages_read_nothing(open_web: FlaskClient, path: str, headers: dict[str, str]) -> None:
    assert open_web.get(path, headers=headers).status_code == 403


def test_a_foreign_form_without_origin_is_known_by_its_referer(open_web: FlaskClient) -> None:
    answer = open_web.put("/api/coins/1", json={"notes": "x"}, headers={"Referer": "http://evil.example/page"})
    assert answer.status_code == 403


def test_a_link_on_another_site_opens_a_page_and_nothing_else(open_web: FlaskClient) -> None:
    assert open_web.get("/login", headers=LINK).status_code == 302
    assert open_web.get("/login", headers=FRAME).status_code == 403
    assert open_web.get("/api/coins", headers=LINK).status_code == 403
    assert open_web.post("/logout", headers=LINK).status_code == 403


def test_no_answer_lets_other_origins_read(open_web: FlaskClient) -> None:
    answer = open_web.options(
        "/api/coins", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    )
    assert answer.status_code == 403
    assert not [name for name, _value in answer.headers if name.lower().startswith("access-control")]


def test_a_cookie_needs_a_proof_or_a_token(open_web: FlaskClient) -> None:
    cookie = {"Cookie": "other_app=1"}
    change = {"notes": "x"}
    assert open_web.put("/api/coins/1", json=change, headers=cookie).status_code == 403
    assert open_web.put("/api/coins/1", json=change, headers={**cookie, "X-CSRFToken": "made up"}).status_code == 403
    assert (
        open_web.put("/api/coins/1", json=change, headers={**cookie, "Origin": "http://localhost"}).status_code == 200
    )
    assert open_web.get("/api/coins", headers=cookie).status_code == 200


def test_a_browser_without_origin_passes_with_the_token_of_its_page(make_small_app: Callable[..., Flask]) -> None:
    client = make_small_app(admin_password="correct horse").test_client()
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)
    assert token is not None
    form = {"password": "correct horse"}
    assert client.post("/login", data=form).status_code == 403
    assert client.post("/login", data={**form, "csrf_token": token[1]}).status_code == 302
    headers = {"X-CSRFToken": token[1]}
    assert client.put("/api/coins/1", json={"notes": "x"}, headers=headers).status_code == 200
    assert client.put("/api/coins/1", json={"notes": "x"}).status_code == 403


ANSWERS = [("GET", "/api/coins", 200), ("GET", "/x", 404), ("GET", "/api/nowhere", 404), ("PUT", "/api/coins", 405),
           ("POST", "/api/coins", 400), ("GET", "/static/css/bare.css", 200), ("GET", "/static/nothing.css", 404),
           ("GET", "/login", 302), ("GET", "/metrics", 200), ("GET", "/api/docs", 200)]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_answer_has_the_headers(open_web: FlaskClient, method: str, path: str, status: int) -> None:
    answer = open_web.open(path, method=method)
    assert answer.status_code == status
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == "'none'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "Set-Cookie" not in answer.headers
    answer.close()


def test_the_policy_names_the_websocket_of_this_host_and_no_other(open_web: FlaskClient) -> None:
    policy = open_web.get("/api/coins", headers={"Host": "127.0.0.1:5000"}).headers["Content-Security-Policy"]
    assert "connect-src 'self' ws://127.0.0.1:5000 wss://127.0.0.1:5000;" in policy
    odd = open_web.get("/api/coins", environ_overrides={"HTTP_HOST": "x; script-src *"}).headers[
        "Content-Security-Policy"
    ]
    assert "script-src *" not in odd


SOCKET = "/socket.io/?EIO=4&transport=polling"


def _with_gateway(app: Flask) -> FlaskClient:
    """What Socket.IO does: answers its own path before Flask sees it, inside of our outermost layer."""

    def gateway(environ, start_response):  # type: ignore[no-untyped-def]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"socket"]

    app.wsgi_app._inner = gateway  # type: ignore[attr-defined]
    return app.test_client(use_cookies=False)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 200), ({"Origin": "http://localhost"}, 200), ({"Origin": "http://evil.example"}, 403),
     ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Host": "evil.example"}, 400)],
)  # fmt: skip
def test_socket_io_asks_the_same(small_app: Flask, headers: dict[str, str], status: int) -> None:
    answer = _with_gateway(small_app).get(SOCKET, headers=headers)
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_socket_io_needs_the_login_too(make_small_app: Callable[..., Flask]) -> None:
    app = make_small_app(admin_password="secret words")
    client = app.test_client()
    assert client.post("/login", data={"password": "secret words"}, headers=OWN[0]).status_code == 302
    cookie = client.get_cookie("curlew_session")
    assert cookie is not None
    outside = _with_gateway(app)
    assert outside.get(SOCKET).status_code == 401
    assert outside.get(SOCKET, headers={"Cookie": f"curlew_session={cookie.value}"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "password", "is_fine"),
    [("127.0.0.1", "", True), ("localhost", "", True), ("::1", "", True), ("127.1.2.3", "", True),
     ("0.0.0.0", "", False), ("::", "", False),  # noqa: S104
      ("192.0.2.1", "", False), ("example.com", "", False), ("", "", False),
     ("0.0.0.0", "x", True),  # noqa: S104
     ("192.0.2.1", "x", True)],
)  # fmt: skip
def test_an_open_address_needs_a_password(host: str, password: str, is_fine: bool) -> None:
    settings = Settings(host=host, admin_password=password)
    if is_fine:
        check_bind(settings)
        return
    with pytest.raises(Misconfigured, match="ADMIN_PASSWORD"):
        check_bind(settings)


def test_the_secret_key_is_made_once_and_is_nobody_elses(settings: Settings) -> None:
    first = secret_key(settings)
    assert len(first) == 64
    assert secret_key(settings) == first
    assert (settings.data_dir / "secret_key").stat().st_mode & 0o777 == 0o600
    assert secret_key(Settings(data_dir=settings.data_dir, secret_key="given")) == "given"


def test_reads_from_this_machine_are_not_limited_and_others_are(small_app: Flask) -> None:
    near = small_app.test_client()
    far = small_app.test_client()
    far.environ_base["REMOTE_ADDR"] = "192.0.2.9"
    statuses = [far.get("/api/account/balance").status_code for _each in range(1201)]
    assert statuses[:1200] == [409] * 1200
    assert statuses[1200] == 429
    assert {near.get("/api/account/balance").status_code for _each in range(1201)} == {409}
