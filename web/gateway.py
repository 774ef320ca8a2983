"""The Socket.IO gateway: what happens on the bus goes to the pages that asked for it.

A push is a hint, the store is the truth: what the gateway cannot send in time it throws away and says
how much (`shed` in `status`); pages read again from the routes. The publisher never waits: events
go into a bounded queue, one thread sends them.

A client that has just connected hears everything but prices. `subscribe {channels, coins}` says what it
wants instead: channels are names of events (none: all but prices), coins those whose `price_update`
and, with the channel of that name, `kline_update` it wants. `price_update` without coins is all coins.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from flask import Flask, request

from domain.errors import NotFound
from domain.events import (
    ACCOUNT_UPDATE,
    AI_DECISION,
    BACKTEST_PROGRESS,
    KLINE_UPDATE,
    MARKET_EVENT,
    MODEL_CHANGED,
    POSITION_UPDATE,
    PRICE_UPDATE,
    STATUS,
    TRADE_EXECUTED,
    Event,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask_socketio import SocketIO

    from runtime.services import Services

log = structlog.get_logger(__name__)

# What everybody hears who has not said otherwise.
BROADCAST = (
    TRADE_EXECUTED, POSITION_UPDATE, AI_DECISION, ACCOUNT_UPDATE, MARKET_EVENT, BACKTEST_PROGRESS, MODEL_CHANGED,
)  # fmt: skip
CHANNELS = frozenset({*BROADCAST, PRICE_UPDATE, KLINE_UPDATE, STATUS})
QUEUE_SIZE = 5_000
STATUS_EVERY_S = 5.0
LOOK_S = 0.5
MOST_COINS = 500
SOCKET_PATH = "/socket.io"


class ClientCap:
    """Refuses Socket.IO requests beyond `most` at once: each holds a thread, and plain requests need some too."""

    def __init__(self, inner: WSGIApplication, most: int) -> None:
        self._inner = inner
        self._slots = threading.BoundedSemaphore(most)
        self._most = most

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # A POST of the polling transport is short and belongs to a client that is counted by its GET.
        is_held = environ.get("PATH_INFO", "").startswith(SOCKET_PATH) and environ.get("REQUEST_METHOD") == "GET"
        if not is_held:
            return self._inner(environ, start_response)
        if not self._slots.acquire(blocking=False):
            log.warning("live connection refused: as many as MAX_CLIENTS are open", most=self._most)
            body = b'{"error": "too many live connections; close a page or raise MAX_CLIENTS"}'
            headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Retry-After", "10")]
            start_response("503 Service Unavailable", headers)
            return [body]
        try:
            # A websocket lives inside this call; a poll's answer is short and complete when it returns.
            return self._inner(environ, start_response)
        finally:
            self._slots.release()


class Gateway:
    """Between the bus and the clients of one server."""

    def __init__(self, services: Services, socketio: SocketIO) -> None:
        self._services = services
        self._socketio = socketio
        self._queue: queue.Queue[Event] = queue.Queue(QUEUE_SIZE)
        self._clients: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._shed = 0
        services.bus.subscribe("*", self.offer)

    # -- from the bus -----------------------------------------------------------------

    def offer(self, event: Event) -> None:
        """Never blocks; what does not fit is counted and gone."""
        if not self._clients or event.kind not in CHANNELS:
            return
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self._shed += 1

    def _send_while_heard(self) -> None:
        """Ends when the last client has gone; the next one to come starts it again."""
        said_at = time.monotonic()
        while self._is_heard():
            try:
                self._send(self._queue.get(timeout=LOOK_S))
            except queue.Empty:
                pass
            except Exception:
                log.exception("an event could not be sent")
            if time.monotonic() - said_at >= STATUS_EVERY_S:
                said_at = time.monotonic()
                self._socketio.emit(STATUS, self.status())

    def _forget(self) -> None:
        """What the last client to go left unsent is no news to the next one to come."""
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()

    def _is_heard(self) -> bool:
        with self._lock:
            if not self._clients:
                self._thread = None
            return bool(self._clients)

    def _send(self, event: Event) -> None:
        data = dict(event.data)
        if event.kind == MARKET_EVENT:
            data.setdefault("timestamp", event.time_ms)  # as its row in /api/events
        if event.kind == PRICE_UPDATE:
            self._socketio.emit(event.kind, data, to=f"price:{data['symbol']}")
            self._socketio.emit(event.kind, data, to="price:*")
        elif event.kind == KLINE_UPDATE:
            self._socketio.emit(event.kind, data, to=f"kline:{data['symbol']}")
        else:
            self._socketio.emit(event.kind, data, to=event.kind)

    # -- from and to clients ----------------------------------------------------------

    def connected(self, client: str) -> None:
        from flask_socketio import join_room

        with self._lock:
            is_first = self._thread is None
            if is_first:
                self._forget()
            self._clients.add(client)
            if is_first:
                self._thread = threading.Thread(target=self._send_while_heard, name="gateway", daemon=True)
                self._thread.start()
        for name in BROADCAST:
            join_room(name)
        self._socketio.emit(STATUS, self.status(), to=client)

    def disconnected(self, client: str) -> None:
        with self._lock:
            self._clients.discard(client)
        self._services.models.watch.drop(client)

    def subscribe(self, client: str, asked: Any) -> dict[str, Any]:
        """What the client hears from now on; unknown names are left out, and told."""
        asked = asked if isinstance(asked, dict) else {}
        channels = [name for name in _texts(asked.get("channels")) if name in CHANNELS]
        coins, unknown = self._coins(_texts(asked.get("coins"))[:MOST_COINS])
        wants_candles = KLINE_UPDATE in channels
        rooms = {name for name in (channels or BROADCAST) if name in BROADCAST}
        rooms |= {f"price:{coin}" for coin in coins}
        watched = coins
        if PRICE_UPDATE in channels and not coins:
            rooms.add("price:*")
            watched = [coin.symbol for coin in self._services.catalogue.list_coins()]
        if wants_candles:
            rooms |= {f"kline:{coin}" for coin in coins}
        self._move(client, rooms)
        self._services.models.watch.look(client, watched, coins if wants_candles else ())
        if client not in self._clients:  # it left meanwhile: nobody would ever take back what it looks at
            self._services.models.watch.drop(client)
        return {"channels": channels, "coins": coins, "unknown": unknown}

    def _move(self, client: str, wanted: set[str]) -> None:
        from flask_socketio import join_room, leave_room, rooms

        present = {room for room in rooms(client) if room != client}
        for room in present - wanted:
            leave_room(room, client)
        for room in wanted - present:
            join_room(room, client)

    def _coins(self, names: list[str]) -> tuple[list[str], list[str]]:
        found: dict[str, None] = {}
        unknown = []
        for name in names:
            try:
                found[self._services.catalogue.parse_coin(name).symbol] = None
            except NotFound:
                unknown.append(name)
        return list(found), unknown

    def status(self) -> dict[str, Any]:
        """What the status bar shows."""
        services = self._services
        return {
            "market": services.market.workspace_market,
            "connection": "connected",
            "scheduler": services.runner.state if services.runner is not None else "off",
            "now_ms": services.clock.now_ms(),
            "speed": float(getattr(services.clock, "speed", 1.0)),
            "clients": len(self._clients),
            "shed": self._shed,
        }


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str) and len(item) <= 40] if isinstance(value, list) else []


def register_gateway(app: Flask, services: Services) -> None:
    """Adds Socket.IO to a server's app; call it before `register_security`, whose checks go around it.

    A `flask` command serves nobody and is spared the import.
    """
    if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
        return
    from flask_socketio import SocketIO

    # Who may connect is decided before a request comes here (web.security.SecureGateway): no CORS headers.
    socketio = SocketIO(
        app,
        async_mode="threading",
        cors_allowed_origins=[],
        manage_session=False,
        ping_interval=15,
        ping_timeout=10,
        max_http_buffer_size=100_000,
        logger=False,
        engineio_logger=False,
    )
    gateway = Gateway(services, socketio)
    app.extensions["curlew_gateway"] = gateway
    app.wsgi_app = ClientCap(app.wsgi_app, services.settings.max_clients)  # type: ignore[method-assign]

    @socketio.on("connect")
    def connect(_auth: Any = None) -> None:
        gateway.connected(request.sid)  # type: ignore[attr-defined]

    @socketio.on("disconnect")
    def disconnect(_reason: Any = None) -> None:
        gateway.disconnected(request.sid)  # type: ignore[attr-defined]

    @socketio.on("subscribe")
    def subscribe(asked: Any = None) -> dict[str, Any]:
        return gateway.subscribe(request.sid, asked)  # type: ignore[attr-defined]
