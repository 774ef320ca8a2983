"""The runner: who has the database, which jobs there are, and that nothing ends silently."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import make_url, update
from sqlalchemy.exc import OperationalError

from config import Settings
from database import Model
from domain.errors import Conflict
from runtime.bus import Bus
from runtime.lock import RuntimeLock
from runtime.runner import Runner
from runtime.scheduler import MarketTrigger
from runtime.services import Services
from store.events import EventStore
from tests.conftest import StartServer
from tests.fakes.workspace import BUSY_RULES

Start = Callable[..., Services]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(speed=600)`: an application with its runner; `data_dir` of an earlier one; `runs=False` without."""
    from app import create_app, start_runtime

    started: list[Services] = []

    def begin(speed: float = 600, folder: str = "data", runs: bool = True) -> Services:
        settings = Settings(data_dir=tmp_path / folder, market="simulated", simulated_speed=speed, log_level="ERROR")
        app: Flask = create_app(settings)
        services: Services = app.extensions["curlew"]
        if runs:
            start_runtime(app)
        started.append(services)
        return services

    yield begin
    for services in started:
        if services.runner is not None:
            services.runner.stop()
        services.database.engine.dispose()


def wait_for(what: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def runner_of(services: Services) -> Runner:
    assert services.runner is not None
    return services.runner


def running(services: Services) -> Services:
    wait_for(lambda: services.runner is not None and services.runner.is_running and services.models.list())
    return services


def busy(services: Services, **values: Any) -> int:
    found = services.strategies.find("Busy") or services.strategies.create(BUSY_RULES, now_ms=0)
    given = {"name": "Busy", "kind": "rules", "strategy_id": found.id, "coins": ["BTC", "ETH"], "interval": "1m",
             **values}  # fmt: skip
    return int(services.models.create(given)["id"])


def cycles(services: Services, model_id: int) -> int:
    """Bars decided on: each makes a decision for each of two coins."""
    return len(services.models.decisions(model_id, limit=1000)) // 2


# -- the first start ----------------------------------------------------------------------


def test_a_new_workspace_trades_at_once(start: Start) -> None:
    services = start(speed=1)
    began = time.monotonic()
    wait_for(lambda: len(services.models.list()) == 3)
    models = services.models.list()
    assert {(m["name"], m["kind"], m["status"]) for m in models} == {
        ("Trend", "rules", "running"), ("Reversion", "rules", "running"), ("Hold", "hold", "running"),
    }  # fmt: skip
    assert all(len(m["coins"]) == 10 and "USDT" not in m["coins"] for m in models)
    hold = next(m["id"] for m in models if m["kind"] == "hold")
    wait_for(lambda: len(services.models.trades(hold)) == 10)
    assert time.monotonic() - began < 20
    assert all(services.models.decisions(m["id"]) for m in models if m["id"] == hold)
    wait_for(lambda: all(services.models.decisions(m["id"]) for m in models))
    assert all(services.models.equity(m["id"]) for m in models)


def test_what_a_killed_upload_left_is_gone_after_a_start(start: Start, tmp_path: Path) -> None:
    left = tmp_path / "data" / "uploads" / "upload-killed"
    left.mkdir(parents=True)
    (left / "half.csv").write_bytes(b"1,2")
    running(start(speed=1))
    assert not left.exists()


def test_a_start_that_fails_is_tried_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.runner.BACK_OFF_S", 0.05)
    services = start(speed=600, runs=False)
    failures = iter([OperationalError("BEGIN IMMEDIATE", {}, Exception("database is locked"))] * 2)

    seen: list[str] = []

    def recover() -> None:
        seen.append(runner.state)
        if (failure := next(failures, None)) is not None:
            raise failure

    monkeypatch.setattr(services.backtests, "recover", recover)
    services.runner = runner = Runner(services)
    runner.start()
    wait_for(lambda: cycles(services, 1) if services.models.list() else 0)
    said = [event.data["message"] for event in EventStore(services.database).load(10, "system")]
    assert len([words for words in said if "database is locked" in words]) == 2
    # nobody is told that models trade while they do not
    assert (seen, runner.state) == (["running", "stopped", "stopped"], "running")


def test_examples_come_once_and_never_again(start: Start) -> None:
    first = running(start(speed=1))
    wait_for(lambda: len(first.models.list()) == 3)
    for model in first.models.list():
        first.models.delete(model["id"])
    runner_of(first).stop()
    again = start(speed=1)
    wait_for(lambda: runner_of(again).is_running)
    wait_for(lambda: runner_of(again)._scheduler.names())
    assert again.models.list() == []


def test_a_workspace_with_models_is_offered_none(start: Start) -> None:
    services = start(runs=False)
    busy(services, name="mine")
    services = start()
    wait_for(lambda: runner_of(services).is_running)
    wait_for(lambda: runner_of(services)._scheduler.names())
    assert [m["name"] for m in services.models.list()] == ["mine"]


# -- cycles -------------------------------------------------------------------------------


def test_a_model_decides_once_a_real_second_at_sixtyfold_speed(start: Start) -> None:
    services = running(start(speed=60))
    model_id = busy(services, interval_seconds=60)
    wait_for(lambda: cycles(services, model_id) >= 5)
    rows = services.models.decisions(model_id, limit=10, coin="BTC")
    times = [row["timestamp"] for row in rows]
    gaps = [after - before for after, before in pairwise(times)]
    assert all(30_000 < gap < 150_000 for gap in gaps)
    # At UTC multiples of its interval, a breath after them.
    assert sorted(time_ms % 60_000 for time_ms in times)[len(times) // 2] < 30_000


def test_jobs_follow_the_models(start: Start) -> None:
    services = running(start())
    runner = runner_of(services)
    model_id = busy(services)
    name = f"model:{model_id}"
    wait_for(lambda: cycles(services, model_id) >= 2)
    services.models.update(model_id, {"status": "paused"})
    wait_for(lambda: name not in runner._scheduler.names())
    time.sleep(0.3)
    before = cycles(services, model_id)
    time.sleep(0.5)
    assert cycles(services, model_id) == before
    services.models.update(model_id, {"status": "running"})
    wait_for(lambda: cycles(services, model_id) > before)
    services.models.delete(model_id)
    wait_for(lambda: name not in runner._scheduler.names())


def test_jobs_follow_what_another_process_changes(start: Start) -> None:
    services = running(start())
    other = start(runs=False)
    model_id = busy(other)
    wait_for(lambda: cycles(services, model_id) >= 2)
    with other.database.write() as session:
        session.execute(update(Model).where(Model.id == model_id).values(status="paused"))
    wait_for(lambda: f"model:{model_id}" not in runner_of(services)._scheduler.names())


def test_stops_are_kept_between_cycles_and_while_paused(start: Start) -> None:
    services = running(start())
    risk = {"stop_loss_percent": 0.05, "take_profit_percent": 0.05}
    model_id = busy(services, interval_seconds=3600, interval="1m", risk=risk, status="paused")
    rows = wait_for(lambda: services.models.execute(model_id)["orders"])
    assert rows
    wait_for(lambda: any(row["reason"] in ("stop_loss", "take_profit") for row in services.models.trades(model_id)))


def test_one_models_trouble_is_its_own(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    services = running(start())
    good, bad = busy(services, name="good"), busy(services, name="bad")
    wait_for(lambda: cycles(services, good) and cycles(services, bad))
    account = services.models.accounts.peek(bad)
    assert account is not None

    def fail() -> None:
        raise RuntimeError("the roof is on fire")

    monkeypatch.setattr(account, "step", fail)
    from store.events import EventStore

    events = EventStore(services.database)
    found = wait_for(lambda: [e for e in events.load(50, "system") if e.model_id == bad])
    assert found[0].data["message"] == "bad: the roof is on fire"
    before = cycles(services, good), cycles(services, bad)
    wait_for(lambda: cycles(services, good) > before[0])
    # It is read back from its books and goes on by itself.
    wait_for(lambda: cycles(services, bad) > before[1])


def test_snapshots_come_every_five_minutes_and_at_midnight(start: Start) -> None:
    services = running(start(speed=20_000))
    hold = next(m["id"] for m in services.models.list() if m["kind"] == "hold")
    midnight = (services.clock.now_ms() // 86_400_000 + 1) * 86_400_000
    wait_for(lambda: services.clock.now_ms() > midnight + 7_200_000, 40)
    rows = wait_for(lambda: [r for r in services.models.equity(hold, 10_000) if r["timestamp"] >= midnight])
    assert rows[0]["timestamp"] == midnight
    assert all(row["timestamp"] % 300_000 == 0 for row in rows)
    assert all(
        row["equity"] == pytest.approx(row["balance"] + row["margin_used"] + row["unrealized_pnl"]) for row in rows
    )


# -- one for each database ----------------------------------------------------------------


def test_the_second_process_serves_pages_only_and_takes_over(start: Start) -> None:
    first = running(start())
    second = start()
    time.sleep(0.3)
    assert runner_of(second).state == "elsewhere"
    model_id = busy(second, status="paused")
    with pytest.raises(Conflict, match="another server"):
        second.models.execute(model_id)
    runner_of(first).stop()
    wait_for(lambda: runner_of(second).is_running, 5)
    assert second.models.execute(model_id)["decisions"]


def test_the_lock_is_the_databases(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    one = RuntimeLock(make_url(f"sqlite:///{tmp_path}/a.db"))
    same = RuntimeLock(make_url(f"sqlite:///{tmp_path}/link/../{tmp_path.name}/a.db"))
    other = RuntimeLock(make_url(f"sqlite:///{tmp_path}/b.db"))
    assert one.acquire()
    assert not same.acquire()
    assert other.acquire()
    assert one.acquire()
    one.release()
    assert not same.acquire()
    one.release()
    assert same.acquire()
    for lock in (same, other):
        lock.release()


def test_processes_of_one_database_server_share_a_lock() -> None:
    locks = [RuntimeLock(make_url(f"postgresql://curlew:{word}@db/{name}")) for word, name in
             (("one", "a"), ("two", "a"), ("one", "b"))]  # fmt: skip
    assert locks[0].path == locks[1].path != locks[2].path


def test_a_server_stops_within_three_seconds(start_server: StartServer) -> None:
    server = start_server(SIMULATED_SPEED="600")
    wait_for(lambda: b'"scheduler":"running"' in server.get("/api/health"), 30)
    time.sleep(1.0)
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 6
    assert "Traceback" not in server.log()


def test_stopping_takes_no_longer_than_it_may(start: Start) -> None:
    services = running(start())
    busy(services)
    time.sleep(0.5)
    began = time.monotonic()
    runner_of(services).stop()
    assert time.monotonic() - began < 3
    assert runner_of(services).state == "stopped"


# -- parts --------------------------------------------------------------------------------


class FastClock:
    speed = 600.0

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def real_delay_s(self, time_ms: int) -> float:
        return (time_ms - self._now_ms) / 1000 / self.speed


def test_a_job_fires_at_multiples_of_the_markets_time() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 1, 1, tzinfo=UTC)
    trigger = MarketTrigger(FastClock(90_000), 60_000)
    fires = trigger.get_next_fire_time(None, now)
    assert (fires - now).total_seconds() == pytest.approx(30 / 600 + 0.005)
    # Asked twice it says the same: APScheduler does.
    assert trigger.get_next_fire_time(fires, now) == fires
    seldom = MarketTrigger(FastClock(90_000), 60_000, least_real_s=1.0)
    assert (seldom.get_next_fire_time(None, now) - now).total_seconds() == pytest.approx((600 - 30) / 600 + 0.005)


def test_a_handler_that_fails_does_not_concern_the_others() -> None:
    from domain.events import Event

    bus, heard = Bus(), []

    def fail(event: Event) -> None:
        raise RuntimeError

    bus.subscribe("x", fail)
    stop = bus.subscribe("*", heard.append)
    bus.publish(Event("x", 1))
    bus.publish(Event("y", 2))
    stop()
    bus.publish(Event("x", 3))
    assert [event.time_ms for event in heard] == [1, 2]
