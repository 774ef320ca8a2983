"""Crash only: kill -9 at any moment, start again: no fill lost or doubled, no order unexplained, books right."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, select

from database import AiDecision, Database, Fill, Model, Order, engine_options
from store.audit import recompute
from tests.conftest import ROOT, StartServer, server_environment
from tests.fakes.workspace import BUSY_RULES

KILLS = 50
SPEED = 600
COINS = ["BTC", "ETH", "SOL", "XRP", "BNB"]
# What a server plans it sends at once: five real seconds are far more than it ever needs.
GRACE_MS = 5_000 * SPEED
TRADING_HAPPY = {"max_daily_trades": 0, "max_daily_loss_percent": 0, "max_open_positions": 0, "stop_loss_percent": 0.2,
                 "take_profit_percent": 0.3}  # fmt: skip


class Victim:
    """A process that forks servers, and the one that is running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = server_environment(folder, 5000, CRASH_SPEED=str(SPEED))
        environment.pop("DATA_DIR")
        self._log = (folder.parent / "crash.log").open("ab")
        self._nurse = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.crash_server", str(folder)],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        self._expect("ready")
        self.pid = 0
        self.url = ""

    def _expect(self, word: str) -> None:
        assert self._nurse.stdout is not None
        line = self._nurse.stdout.readline().strip()
        if line != word:
            raise RuntimeError(f"expected {word}, got {line!r}:\n{(self.folder.parent / 'crash.log').read_text()}")

    def start(self) -> None:
        assert self._nurse.stdin is not None
        assert self._nurse.stdout is not None
        self._nurse.stdin.write("start\n")
        self._nurse.stdin.flush()
        pid, port = self._nurse.stdout.readline().split()
        self.pid, self.url = int(pid), f"http://127.0.0.1:{port}"

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._expect("gone")
            self.pid = 0

    def close(self) -> None:
        self.kill()
        assert self._nurse.stdin is not None
        self._nurse.stdin.close()
        self._nurse.wait(10)
        assert self._nurse.stdout is not None
        self._nurse.stdout.close()
        self._log.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return call(self.url, method, path, body)


def call(url: str, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    request = urllib.request.Request(url + path, data, headers, method=method)  # noqa: S310 - our own loopback URL
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        return json.loads(answer.read() or b"null")


def make_models(url: str) -> None:
    """Three accounts that trade on every other bar, besides the examples of a new workspace."""
    strategy = call(url, "POST", "/api/strategies", BUSY_RULES)
    for number, leverage in enumerate((1, 3, 10)):
        call(url, "POST", "/api/models", {
            "name": f"Busy {number}", "kind": "rules", "strategy_id": strategy["id"], "coins": COINS, "interval": "1m",
            "interval_seconds": 60, "leverage": leverage, "risk": TRADING_HAPPY,
        })  # fmt: skip


class Books:
    """The database as an outsider reads it."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'curlew.db'}"
        self.database = Database(create_engine(url, **engine_options(url)))

    def close(self) -> None:
        self.database.engine.dispose()

    def check(self) -> None:
        """Positions and cash follow from the fills and the ledger, every fill is there once and has one posting."""
        with self.database.read() as session:
            ids = session.scalars(select(Model.id)).all()
        for model_id in ids:
            assert recompute(self.database, model_id) == []

    def fills(self) -> dict[int, tuple[object, ...]]:
        with self.database.read() as session:
            rows = session.scalars(select(Fill)).all()
        return {
            f.id: (f.model_id, f.order_id, f.sequence, f.coin, f.timestamp_ms, f.side, float(f.price)) for f in rows
        }

    def waiting(self, status: str) -> list[tuple[str, int]]:
        with self.database.read() as session:
            found = session.execute(select(Order.client_id, Order.created_ms).where(Order.status == status))
            return [(client_id, created_ms) for client_id, created_ms in found]

    def count(self, *where: Any) -> int:
        with self.database.read() as session:
            return session.scalar(select(func.count(Order.id)).where(*where)) or 0

    def wait_for_orders(self, more: int, timeout_s: float = 5.0) -> None:
        """Until so many more have been planned: a kill then falls into their lives, however slow the machine is."""
        start, deadline = self.count(), time.monotonic() + timeout_s
        while self.count() < start + more and time.monotonic() < deadline:
            time.sleep(0.005)

    def decided_twice(self) -> list[Any]:
        """A coin decided on twice in one minute of market time by one model."""
        minute = func.floor(AiDecision.timestamp_ms / 60_000)
        query = (
            select(AiDecision.model_id, AiDecision.coin, minute)
            .join(Model, AiDecision.model_id == Model.id)
            .where(Model.interval == "1m")
            .group_by(AiDecision.model_id, AiDecision.coin, minute)
            .having(func.count() > 1)
        )
        with self.database.read() as session:
            return list(session.execute(query))


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    folder = tmp_path / "data"
    folder.mkdir()
    made = Victim(folder)
    yield made
    made.close()


def seen_fills(url: str) -> dict[int, tuple[object, ...]]:
    """What a page could have shown: these may never disappear."""
    shown = {}
    for model in call(url, "GET", "/api/models"):
        for row in call(url, "GET", f"/api/models/{model['id']}/trades?limit=100"):
            shown[row["id"]] = (row["model_id"], row["coin"], row["timestamp"], row["side"], row["price"])
    return shown


def test_fifty_kills(victim: Victim) -> None:
    """Each kill falls at a random moment of a server that trades some ten times a second."""
    rng = random.Random(os.urandom(8))
    victim.start()
    make_models(victim.url)
    books = Books(victim.folder)
    shown: dict[int, tuple[object, ...]] = {}
    try:
        for number in range(KILLS):
            books.wait_for_orders(rng.randint(0, 12))
            time.sleep(rng.uniform(0, 0.05))
            if number % 5 == 0:
                shown |= seen_fills(victim.url)
            victim.kill()
            books.check()
            planned = books.waiting("planned")
            victim.start()
            wait_until_explained(books, planned)
        assert_all_is_well(victim, books, shown)
    finally:
        books.close()


def wait_until_explained(books: Books, planned: list[tuple[str, int]], timeout_s: float = 20.0) -> None:
    """The next server sends or expires what the dead one had planned."""
    deadline = time.monotonic() + timeout_s
    left = {client_id for client_id, _ in planned}
    while left:
        assert time.monotonic() < deadline, f"orders left unexplained: {left}"
        time.sleep(0.02)
        left &= {client_id for client_id, _ in books.waiting("planned")}


def assert_all_is_well(victim: Victim, books: Books, shown: dict[int, tuple[object, ...]]) -> None:
    time.sleep(1.0)
    final = seen_fills(victim.url)
    now = call(victim.url, "GET", "/api/shell")["now_ms"]
    for model in call(victim.url, "GET", "/api/models"):
        sums = call(victim.url, "GET", f"/api/models/{model['id']}/portfolio")
        assert sums["total_value"] == pytest.approx(sums["cash"] + sums["positions_value"], abs=1e-6)
        made = sums["initial_capital"] + sums["realized_pnl"] + sums["unrealized_pnl"]
        assert sums["total_value"] == pytest.approx(made, abs=1e-6)
    victim.kill()
    books.check()
    stored = books.fills()
    for fill_id, row in (shown | final).items():
        model_id, _, _, coin, time_ms, side, price = stored[fill_id]
        assert (model_id, coin, time_ms, side, price) == row
    assert books.decided_twice() == []
    late = [row for row in books.waiting("planned") if row[1] < now - GRACE_MS]
    assert late == []
    # It has to have been a storm for the calm to mean something.
    assert len(stored) > 4 * KILLS
    assert books.count(Order.status == "filled") > 2 * KILLS
    assert books.count(Order.kind != "market", Order.status != "filled") == 0


def test_the_real_server_comes_back(start_server: StartServer, tmp_path: Path) -> None:
    """gunicorn itself, killed with its worker."""
    folder = tmp_path / "data"
    server = start_server(folder, SIMULATED_SPEED=str(SPEED))
    make_models(server.url)
    books = Books(folder)
    try:
        for _ in range(2):
            deadline = time.monotonic() + 30
            while len(books.fills()) < 5 and time.monotonic() < deadline:
                time.sleep(0.2)
            shown = seen_fills(server.url)
            assert shown
            server.kill()
            books.check()
            server = start_server(folder, SIMULATED_SPEED=str(SPEED))
            assert shown.keys() <= books.fills().keys()
        wait_until_running(server.url)
    finally:
        books.close()


def wait_until_running(url: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    state = ""
    while state != "running":
        assert time.monotonic() < deadline, f"scheduler: {state}"
        time.sleep(0.1)
        state = call(url, "GET", "/api/health")["scheduler"]
