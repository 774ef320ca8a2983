"""The gateway: who hears what, how many may listen, and what happens when nobody can keep up."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import simple_websocket
from flask import Flask
from flask_socketio import SocketIOTestClient

from domain.events import (
    ACCOUNT_UPDATE,
    KLINE_UPDATE,
    MARKET_EVENT,
    MODEL_CHANGED,
    PRICE_UPDATE,
    STATUS,
    TRADE_EXECUTED,
    Event,
)
from runtime.bus import Bus
from runtime.ticker import Watch
from tests.conftest import StartServer
from tests.web.conftest import build_small_app
from web.gateway import QUEUE_SIZE, ClientCap, Gateway


class Models:
    """Of the models the gateway needs to know what is looked at."""

    def __init__(self) -> None:
        self.watch = Watch()


@pytest.fixture
def app(settings: Any) -> Flask:
    return build_small_app(settings, models=Models())


@pytest.fixture
def connect(app: Flask) -> Callable[[], SocketIOTestClient]:
    socketio = app.extensions["socketio"]
    return lambda: socketio.test_client(app)


@pytest.fixture
def bus(app: Flask) -> Bus:
    found: Bus = app.extensions["curlew"].bus
    return found


def publish(bus: Bus, kind: str, **data: Any) -> None:
    bus.publish(Event(kind, 1, data))


def heard(client: SocketIOTestClient, count: int = 1, timeout_s: float = 5.0) -> list[tuple[str, Any]]:
    """What arrives, `status` left out; waits for `count` events."""
    found: list[tuple[str, Any]] = []
    deadline = time.monotonic() + timeout_s
    while len(found) < count and time.monotonic() < deadline:
        found += [(row["name"], row["args"][0]) for row in client.get_received() if row["name"] != STATUS]
        time.sleep(0.01)
    return found


def nothing_heard(client: SocketIOTestClient) -> bool:
    time.sleep(0.15)
    return heard(client, 1, 0.05) == []


# -- who hears what -----------------------------------------------------------------------


def test_a_new_client_is_told_the_state_of_things(connect: Callable[[], SocketIOTestClient]) -> None:
    (first,) = connect().get_received()
    assert first["name"] == STATUS
    told = first["args"][0]
    assert (told["market"], told["connection"], told["scheduler"], told["shed"]) == ("simulated", "connected", "off", 0)
    assert told["now_ms"] > 0


def test_everybody_hears_trades_and_nobody_prices_unasked(connect: Callable[[], SocketIOTestClient], bus: Bus) -> None:
    one, two = connect(), connect()
    publish(bus, PRICE_UPDATE, symbol="BTC", price=1.0)
    publish(bus, TRADE_EXECUTED, id=7, model_id=1)
    assert heard(one) == [(TRADE_EXECUTED, {"id": 7, "model_id": 1})]
    assert heard(two) == [(TRADE_EXECUTED, {"id": 7, "model_id": 1})]


def test_prices_come_for_the_coins_asked_for(connect: Callable[[], SocketIOTestClient], bus: Bus) -> None:
    client = connect()
    answer = client.emit("subscribe", {"channels": [], "coins": ["BTCUSDT", "ETH", "NOPE"]}, callback=True)
    assert answer == {"channels": [], "coins": ["BTC", "ETH"], "unknown": ["NOPE"]}
    for coin in ("SOL", "BTC", "ETH"):
        publish(bus, PRICE_UPDATE, symbol=coin, price=1.0)
        publish(bus, KLINE_UPDATE, symbol=coin)
    publish(bus, TRADE_EXECUTED, id=1)
    assert [(name, data.get("symbol")) for name, data in heard(client, 3)] == [
        (PRICE_UPDATE, "BTC"), (PRICE_UPDATE, "ETH"), (TRADE_EXECUTED, None),
    ]  # fmt: skip


def test_all_prices_are_watched_for_who_names_no_coin(
    connect: Callable[[], SocketIOTestClient], app: Flask, bus: Bus
) -> None:
    client = connect()
    client.emit("subscribe", {"channels": ["price_update"], "coins": []}, callback=True)
    watch: Watch = app.extensions["curlew"].models.watch
    active = {coin.symbol for coin in app.extensions["curlew"].catalogue.list_coins()}
    assert watch.coins() == active != set()
    publish(bus, PRICE_UPDATE, symbol="SOL", price=1.0)
    assert heard(client) == [(PRICE_UPDATE, {"symbol": "SOL", "price": 1.0})]


def test_a_market_event_says_when(connect: Callable[[], SocketIOTestClient], bus: Bus) -> None:
    client = connect()
    publish(bus, MARKET_EVENT, event_type="risk")
    assert heard(client) == [(MARKET_EVENT, {"event_type": "risk", "timestamp": 1})]


def test_channels_narrow_what_is_heard(connect: Callable[[], SocketIOTestClient], bus: Bus) -> None:
    client = connect()
    client.emit("subscribe", {"channels": ["account_update", "kline_update"], "coins": ["BTC"]}, callback=True)
    publish(bus, TRADE_EXECUTED, id=1)
    publish(bus, KLINE_UPDATE, symbol="BTC", interval="1m")
    publish(bus, ACCOUNT_UPDATE, model_id=1)
    assert [name for name, _ in heard(client, 2)] == [KLINE_UPDATE, ACCOUNT_UPDATE]
    # A second subscription takes the place of the first.
    client.emit("subscribe", {"channels": ["trade_executed"], "coins": []}, callback=True)
    publish(bus, ACCOUNT_UPDATE, model_id=1)
    publish(bus, TRADE_EXECUTED, id=2)
    assert heard(client) == [(TRADE_EXECUTED, {"id": 2})]


def test_all_prices_come_where_no_coin_is_named(connect: Callable[[], SocketIOTestClient], bus: Bus) -> None:
    client = connect()
    client.emit("subscribe", {"channels": ["price_update"]}, callback=True)
    publish(bus, PRICE_UPDATE, symbol="SOL", price=1.0)
    assert heard(client) == [(PRICE_UPDATE, {"symbol": "SOL", "price": 1.0})]


def test_what_is_looked_at_is_known_while_it_is_looked_at(
    app: Flask, connect: Callable[[], SocketIOTestClient]
) -> None:
    watch: Watch = app.extensions["curlew"].models.watch
    client = connect()
    client.emit("subscribe", {"channels": ["kline_update"], "coins": ["BTC"]}, callback=True)
    assert (watch.coins(), watch.candles()) == ({"BTC"}, {"BTC"})
    client.disconnect()
    assert (watch.coins(), watch.candles()) == (set(), set())


@pytest.mark.parametrize(
    "asked", [None, 5, "BTC", [], {"channels": "x", "coins": {"a": 1}}, {"coins": [1, None, "x" * 99]}]
)
def test_nonsense_is_an_empty_subscription(connect: Callable[[], SocketIOTestClient], asked: Any) -> None:
    assert connect().emit("subscribe", asked, callback=True) == {"channels": [], "coins": [], "unknown": []}


# -- the queue ----------------------------------------------------------------------------


def test_the_publisher_never_waits_and_what_is_lost_is_counted(app: Flask) -> None:
    gateway = Gateway(app.extensions["curlew"], app.extensions["socketio"])
    gateway._clients.add("somebody who never reads")
    began = time.perf_counter()
    for number in range(QUEUE_SIZE + 25):
        gateway.offer(Event(TRADE_EXECUTED, 1, {"id": number}))
    assert time.perf_counter() - began < 2.0
    assert gateway.status()["shed"] == 25


def test_without_clients_nothing_is_queued(app: Flask, bus: Bus) -> None:
    gateway: Gateway = app.extensions["curlew_gateway"]
    publish(bus, TRADE_EXECUTED, id=1)
    publish(bus, MODEL_CHANGED, model_id=1)
    assert gateway._queue.qsize() == 0


def test_what_the_last_client_left_unsent_is_no_news_to_the_next(
    app: Flask, connect: Callable[[], SocketIOTestClient], bus: Bus
) -> None:
    gateway: Gateway = app.extensions["curlew_gateway"]
    gateway._queue.put_nowait(Event(TRADE_EXECUTED, 1, {"id": 1}))
    client = connect()
    publish(bus, TRADE_EXECUTED, id=2)
    assert heard(client) == [(TRADE_EXECUTED, {"id": 2})]


def test_a_subscription_that_comes_after_its_client_has_gone_watches_nothing(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway: Gateway = app.extensions["curlew_gateway"]
    monkeypatch.setattr(gateway, "_move", lambda *_: None)  # its rooms went with it
    gateway.subscribe("gone", {"channels": ["price_update"], "coins": ["BTC"]})
    assert app.extensions["curlew"].models.watch.coins() == set()


# -- how many -----------------------------------------------------------------------------


def test_requests_beyond_the_cap_are_refused_and_others_pass() -> None:
    answers: list[str] = []

    def inner(environ: Any, start: Any) -> list[bytes]:
        if depth := environ.get("depth", 0):
            cap({**environ, "depth": depth - 1}, lambda status, headers: answers.append(status))
        else:
            start("200 OK", [])
        return [b""]

    cap = ClientCap(inner, 2)
    socket = {"PATH_INFO": "/socket.io/", "REQUEST_METHOD": "GET"}
    cap({**socket, "depth": 1}, lambda status, headers: answers.append(status))
    cap({**socket, "depth": 2}, lambda status, headers: answers.append(status))
    assert answers == ["200 OK", "503 Service Unavailable"]
    cap({"PATH_INFO": "/api/health", "REQUEST_METHOD": "GET"}, lambda status, headers: answers.append(status))
    cap(socket, lambda status, headers: answers.append(status))
    assert answers[2:] == ["200 OK", "200 OK"]


# -- a real server ------------------------------------------------------------------------


@pytest.fixture
def sockets() -> Iterator[Callable[[str], Any]]:
    opened: list[Any] = []

    def open_one(url: str) -> Any:
        address = url.replace("http://", "ws://") + "/socket.io/?EIO=4&transport=websocket"
        opened.append(simple_websocket.Client(address))
        opened[-1].receive(timeout=10)  # engine.io's greeting
        opened[-1].send("40")
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def events_of(socket: Any, wanted: set[str], timeout_s: float = 20.0) -> dict[str, Any]:
    """The first event of each name wanted."""
    found: dict[str, Any] = {}
    deadline = time.monotonic() + timeout_s
    while wanted - found.keys() and time.monotonic() < deadline:
        message = socket.receive(timeout=1)
        if message == "2":
            socket.send("3")  # ping, pong
        elif isinstance(message, str) and message.startswith("42"):
            name, data = json.loads(message[2:])
            found.setdefault(name, data)
    return found


def post(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own loopback URL
        return json.loads(answer.read())


def test_pushes_arrive_from_a_running_server_and_its_cap_holds(
    start_server: StartServer, sockets: Callable[[str], Any]
) -> None:
    server = start_server(MAX_CLIENTS="3", SIMULATED_SPEED="60")
    first = sockets(server.url)
    first.send('42["subscribe",{"channels":[],"coins":["BTC"]}]')
    model = post(f"{server.url}/api/models", {"name": "mine", "kind": "hold", "coins": ["BTC"], "status": "paused"})
    post(f"{server.url}/api/models/{model['id']}/execute", {})
    wanted = {"status", "price_update", "trade_executed", "position_update", "ai_decision", "account_update"}
    found = events_of(first, wanted)
    assert found.keys() >= wanted
    assert found["price_update"]["symbol"] == "BTC"
    assert found["price_update"]["source"] == "simulated"
    sockets(server.url)
    sockets(server.url)
    # Plain requests are answered as before.
    assert json.loads(server.get("/api/health"))["status"] == "ok"
    for transport in ("polling", "websocket"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            server.get(f"/socket.io/?EIO=4&transport={transport}")
        refused.value.close()
        assert refused.value.code == 503
