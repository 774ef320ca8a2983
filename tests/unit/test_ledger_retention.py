"""What is thrown away, what never is, and what the snapshots amount to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from database import AiDecision, Order
from domain.events import MARKET_EVENT, Event
from domain.times import DAY_MS, HOUR_MS, MINUTE_MS
from runtime.retention import prune
from runtime.standings import Standings, sharpe_ratio
from store.events import EventStore
from store.snapshots import Snapshot, SnapshotStore
from tests.fakes.workspace import NOON, Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(tmp_path / "data")
    yield made
    made.close()


def snap(time_ms: int, equity: float) -> Snapshot:
    return Snapshot(time_ms, equity, equity, 0.0, 0.0)


def run_retention(workspace: Workspace, now_ms: int, **settings: int) -> None:
    models = workspace.models
    changed = workspace.settings.model_copy(update=settings)
    prune(changed, models.models, models.snapshots, EventStore(workspace.database), now_ms)


def test_old_decisions_go_and_those_with_an_order_stay(workspace: Workspace) -> None:
    model_id = workspace.hold_model()
    workspace.step(model_id)
    workspace.settle(model_id, 2)
    workspace.step(model_id, 60)
    with workspace.database.read() as session:
        before = session.scalars(select(AiDecision.action)).all()
    assert sorted(before) == ["HOLD"] * 4 + ["LONG"] * 4
    run_retention(workspace, NOON + 89 * DAY_MS)
    run_retention(workspace, NOON + 900 * DAY_MS, decision_retention_days=0)
    with workspace.database.read() as session:
        assert len(session.scalars(select(AiDecision.id)).all()) == 8
    run_retention(workspace, NOON + 91 * DAY_MS)
    with workspace.database.read() as session:
        assert session.scalars(select(AiDecision.action)).all() == ["LONG"] * 4
        assert all(session.scalars(select(Order.decision_id)))
    assert workspace.models.check(model_id) == []


def test_many_decisions_go_a_piece_at_a_time(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.models.PRUNED_ROWS", 3)
    model_id = workspace.hold_model()
    workspace.step(model_id)
    for minutes in range(1, 6):
        workspace.settle(model_id, 2)
        workspace.step(model_id, 60 * minutes)
    with workspace.database.read() as session:
        before = session.scalars(select(AiDecision.action)).all()
    models = workspace.models.models
    assert models.prune_decisions(NOON + DAY_MS) == before.count("HOLD") > 6
    assert models.prune_decisions(NOON + DAY_MS) == 0


def test_old_events_go(workspace: Workspace) -> None:
    for day in (0, 50, 100):
        data = {"event_type": "price_alert", "symbol": "BTC", "level": 5}
        workspace.bus.publish(Event(MARKET_EVENT, NOON + day * DAY_MS, data))
    events = EventStore(workspace.database)
    assert [e.data for e in events.load(10)] == [{"level": 5}] * 3
    run_retention(workspace, NOON + 120 * DAY_MS)
    assert [e.timestamp for e in events.load(10)] == [NOON + 100 * DAY_MS, NOON + 50 * DAY_MS]
    assert [e.event_type for e in events.load(10, "price_alert", NOON + 60 * DAY_MS)] == ["price_alert"]
    assert events.load(10, "risk") == []


def test_an_event_of_a_deleted_model_is_an_event_of_nobody(workspace: Workspace) -> None:
    workspace.bus.publish(Event(MARKET_EVENT, NOON, {"event_type": "nonsense", "model_id": 99, "message": "x"}))
    (event,) = EventStore(workspace.database).load(10)
    assert (event.event_type, event.model_id, event.data) == ("system", None, {"message": "x"})


def test_old_snapshots_are_thinned_to_one_an_hour_and_keep_the_days_starts(workspace: Workspace) -> None:
    model_id = workspace.hold_model()
    midnight = NOON + DAY_MS // 2
    snapshots = SnapshotStore(workspace.database)
    times = [midnight + i * 5 * MINUTE_MS for i in range(25)]
    snapshots.add([(model_id, snap(time_ms, 100.0)) for time_ms in times])
    snapshots.add([(model_id, snap(times[-1], 999.0))])
    removed = snapshots.thin(midnight + DAY_MS)
    kept = [s.timestamp for s in snapshots.series(model_id, 1000)]
    assert kept == [
        NOON,
        midnight,
        midnight + HOUR_MS - 300_000,
        midnight + 2 * HOUR_MS - 300_000,
        midnight + 2 * HOUR_MS,
    ]
    assert removed == 25 - 4
    assert snapshots.series(model_id, 1000)[-1].equity == 100.0
    assert snapshots.thin(midnight) == 0


def test_the_day_is_measured_from_its_start(workspace: Workspace) -> None:
    model_id = workspace.hold_model()
    midnight = NOON + DAY_MS // 2
    snapshots = SnapshotStore(workspace.database)
    assert snapshots.day(model_id, midnight) == (10_000.0, 10_000.0)
    snapshots.add([(model_id, snap(midnight + i * HOUR_MS, equity)) for i, equity in enumerate((500.0, 300.0, 400.0))])
    assert snapshots.day(model_id, midnight) == (500.0, 300.0)
    assert snapshots.day(99, midnight) == (None, None)


def test_standings_follow_the_snapshots_as_they_come(workspace: Workspace) -> None:
    model_id = workspace.hold_model()
    snapshots = SnapshotStore(workspace.database)
    standings = Standings(snapshots)
    assert standings.of(model_id, 10_000.0, 10_000.0) == (0.0, None)
    assert standings.of(model_id, 10_000.0, 9_000.0)[0] == pytest.approx(10)
    # The newest marks a day: 00:00 closes the day before.
    days = [11_000.0, 9_900.0, 10_890.0, 11_000.0, 9_900.0, 10_890.0, 10_890.0]
    snapshots.add([(model_id, snap(NOON + DAY_MS // 2 + i * DAY_MS, equity)) for i, equity in enumerate(days)])
    drawdown, sharpe = standings.of(model_id, 10_000.0, 10_890.0)
    assert drawdown == pytest.approx(10)
    assert sharpe == pytest.approx(sharpe_ratio([10_000.0, *days]))
    standings.forget(model_id)
    assert standings.of(model_id, 10_000.0, 10_890.0)[0] == pytest.approx(10)


def test_sharpe_of_daily_returns() -> None:
    # Seven returns of +10 % and -10 % in turn, +10 % first: mean 1/70, deviation with ddof 1 of 0.1069.
    marks = [100.0]
    for i in range(7):
        marks.append(marks[-1] * (1.1 if i % 2 == 0 else 0.9))
    deviation = ((4 * (0.1 - 1 / 70) ** 2 + 3 * (0.1 + 1 / 70) ** 2) / 6) ** 0.5
    assert sharpe_ratio(marks) == pytest.approx((1 / 70) / deviation * 365**0.5)
    assert sharpe_ratio(marks[:-1]) is None, "six days say nothing of a year"
    assert sharpe_ratio([100.0] * 9) is None
