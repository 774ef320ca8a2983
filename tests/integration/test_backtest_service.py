"""Backtests in the background: results kept, cancelled, cut off, started again."""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from database import Database
from domain.errors import Conflict, InvalidValue, NotFound
from domain.events import BACKTEST_PROGRESS
from runtime.backtests import BacktestService
from runtime.bus import Bus
from runtime.clock import SystemClock
from store.backtests import BacktestStore
from tests.fakes.backtests import CROSS, Models, make_backtester

BODY: dict[str, Any] = {
    "strategy": CROSS,
    "coins": ["BTC", "ETH"],
    "start_date": "2020-01-10",
    "end_date": "2020-04-30",
}


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backtester, self.database = make_backtester(folder, Models())
        self.heard: list[dict[str, Any]] = []
        self.service = self.start_service()

    def start_service(self) -> BacktestService:
        bus = Bus()
        bus.subscribe(BACKTEST_PROGRESS, lambda event: self.heard.append(dict(event.data)))
        store = BacktestStore(self.database, self.folder / "backtests")
        return BacktestService(store, self.backtester, bus, SystemClock())

    def finished(self, body: dict[str, Any]) -> int:
        run_id: int = self.service.start(body)["id"]
        assert self.service.wait(run_id, 30)
        return run_id


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    _dispose(world.database)


def _dispose(database: Database) -> None:
    database.engine.dispose()


def test_the_head_of_a_page_reads_no_report(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = world.finished(BODY)
    whole = world.service.get(run_id)
    monkeypatch.setattr(BacktestStore, "load_trades", lambda *_: pytest.fail("trades were read"))
    monkeypatch.setattr(BacktestStore, "load", lambda *_: pytest.fail("the report was read"))
    assert {**world.service.head(run_id), "report": whole["report"]} == whole
    with pytest.raises(NotFound):
        world.service.head(run_id + 1)


def test_a_run_is_kept_whole_and_announced(world: World) -> None:
    run_id = world.finished(BODY)
    run = world.service.get(run_id)
    assert (run["status"], run["progress"], run["error"]) == ("done", 1.0, None)
    outcome = world.backtester.run(world.backtester.prepare(BODY), lambda _done: None, lambda: False)
    assert run["report"]["summary"] == outcome.report["summary"]
    assert len(run["report"]["trades"]) == len(outcome.trades)
    assert run["report"]["trades"][0]["entry_price"] == outcome.trades[0].entry_price
    assert world.heard[-1] == {"id": run_id, "status": "done", "progress": 1.0}


def test_the_csv_files_are_whole(world: World) -> None:
    run_id = world.finished(BODY)
    trades = list(csv.DictReader(io.StringIO("".join(world.service.trades_csv(run_id)))))
    equity = list(csv.DictReader(io.StringIO("".join(world.service.equity_csv(run_id)))))
    report = world.service.get(run_id)["report"]
    assert [float(row["pnl"]) for row in trades] == [row["pnl"] for row in report["trades"]]
    assert len(equity) == report["summary"]["bars"]
    assert float(equity[-1]["value"]) == report["summary"]["final_value"]


def test_the_list_is_newest_first_and_carries_summaries_only(world: World) -> None:
    first, second = world.finished(BODY), world.finished({**BODY, "coins": ["SOL"]})
    runs = world.service.list_runs()
    assert [run["id"] for run in runs] == [second, first]
    assert runs[0]["summary"] == world.service.get(second)["report"]["summary"]
    assert runs[0]["settings"]["coins"] == ["SOL"]
    assert "report" not in runs[0]


def test_a_bad_request_leaves_no_run(world: World) -> None:
    with pytest.raises(InvalidValue):
        world.service.start({**BODY, "coins": ["NOPE"]})
    assert world.service.list_runs() == []


def test_cancelling_a_running_one_and_removing_an_ended_one(world: World) -> None:
    started, release = threading.Event(), threading.Event()
    real = world.backtester.reader.read

    def slow(*args: Any) -> Any:
        started.set()
        release.wait(20)
        return real(*args)

    world.backtester.reader.read = slow  # type: ignore[method-assign]
    run_id = world.service.start(BODY)["id"]
    assert started.wait(20)
    with pytest.raises(Conflict):
        world.service.restart(run_id)
    world.service.cancel_or_remove(run_id)
    release.set()
    assert world.service.wait(run_id, 20)
    assert world.service.get(run_id)["status"] == "cancelled"
    assert "".join(world.service.trades_csv(run_id)).count("\n") == 1, "no half of a trade list"
    world.service.cancel_or_remove(run_id)
    with pytest.raises(NotFound):
        world.service.get(run_id)


def test_a_run_that_waits_is_cancelled_at_once(world: World) -> None:
    release = threading.Event()
    real = world.backtester.reader.read
    world.backtester.reader.read = lambda *args: (release.wait(20), real(*args))[1]  # type: ignore[method-assign]
    ids = [world.service.start(BODY)["id"] for _ in range(3)]
    world.service.cancel_or_remove(ids[2])
    assert world.service.get(ids[2])["status"] == "cancelled"
    release.set()
    assert all(world.service.wait(run_id, 20) for run_id in ids)
    assert [world.service.get(run_id)["status"] for run_id in ids] == ["done", "done", "cancelled"]


def test_what_a_dead_server_left_is_marked_and_can_be_started_again(world: World) -> None:
    release = threading.Event()
    world.backtester.reader.read = lambda *_args: release.wait(20)  # type: ignore[method-assign]
    run_id = world.service.start(BODY)["id"]
    deadline = time.monotonic() + 20
    while world.service.get(run_id)["status"] != "running" and time.monotonic() < deadline:
        time.sleep(0.01)

    del world.backtester.reader.read  # type: ignore[method-assign]
    world.service = world.start_service()
    world.service.recover()
    assert world.service.get(run_id)["status"] == "interrupted"
    again = world.service.restart(run_id)["id"]
    assert world.service.wait(again, 30)
    assert world.service.get(again)["status"] == "done"
    release.set()


def test_recovery_leaves_the_runs_of_its_own_process_alone(world: World) -> None:
    release = threading.Event()
    real = world.backtester.reader.read
    world.backtester.reader.read = lambda *args: (release.wait(20), real(*args))[1]  # type: ignore[method-assign]
    ids = [world.service.start(BODY)["id"] for _ in range(3)]
    world.service.recover()
    release.set()
    assert all(world.service.wait(run_id, 30) for run_id in ids)
    assert [world.service.get(run_id)["status"] for run_id in ids] == ["done"] * 3


def test_a_failure_that_cannot_be_stored_does_not_stop_the_worker(world: World) -> None:
    def broken(*_args: Any, **_values: Any) -> Any:
        raise ZeroDivisionError("a bug")

    store = world.service._store
    store.save_trades, store.discard_trades = broken, broken  # type: ignore[method-assign]
    lost = [world.service.start(BODY)["id"] for _ in range(2)]  # one for each worker
    assert all(world.service.wait(run_id, 30) for run_id in lost)
    del store.save_trades, store.discard_trades
    assert world.service.get(world.finished(BODY))["status"] == "done"


def test_a_run_that_crashes_is_failed_and_the_next_one_works(world: World) -> None:
    def broken(*_args: Any) -> Any:
        raise ZeroDivisionError("a bug")

    world.backtester.reader.read = broken  # type: ignore[method-assign]
    failed = world.finished(BODY)
    assert world.service.get(failed)["status"] == "failed"
    assert "internal error" in world.service.get(failed)["error"]
    del world.backtester.reader.read  # type: ignore[method-assign]
    assert world.service.get(world.finished(BODY))["status"] == "done"
