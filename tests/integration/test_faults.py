"""The life of an order, cut off between any two of its steps, and the account read back from its books."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as sa_event
from sqlalchemy import func, select

from database import AiDecision, Fill, Order
from domain.events import TRADE_EXECUTED, Event
from domain.times import MINUTE_MS
from domain.trading import OrderStatus
from store.audit import recompute
from store.ledger import ModelJournal
from tests.fakes.workspace import COINS, NOON, Workspace

CYCLE_S = 60


class Crash(BaseException):
    """As if the process had died here: nothing of ours catches it."""


class Place:
    """Crashes at the `nth` passage of a point, once."""

    def __init__(self, nth: int = 1) -> None:
        self._left = nth

    def __call__(self, *_args: object) -> None:
        self._left -= 1
        if self._left == 0:
            raise Crash


def before_method(name: str, nth: int = 1) -> Callable[[pytest.MonkeyPatch, Workspace], None]:
    def install(patch: pytest.MonkeyPatch, _workspace: Workspace) -> None:
        place, real = Place(nth), getattr(ModelJournal, name)

        def crashing(self: ModelJournal, *args: Any) -> Any:
            place()
            return real(self, *args)

        patch.setattr(ModelJournal, name, crashing)

    return install


def after_method(name: str, nth: int = 1) -> Callable[[pytest.MonkeyPatch, Workspace], None]:
    def install(patch: pytest.MonkeyPatch, _workspace: Workspace) -> None:
        place, real = Place(nth), getattr(ModelJournal, name)

        def crashing(self: ModelJournal, *args: Any) -> Any:
            result = real(self, *args)
            place()
            return result

        patch.setattr(ModelJournal, name, crashing)

    return install


def before_commit(nth: int) -> Callable[[pytest.MonkeyPatch, Workspace], None]:
    """In the middle of a transaction: all its statements are made, none of them is kept."""

    def install(_patch: pytest.MonkeyPatch, workspace: Workspace) -> None:
        sa_event.listen(workspace.database.engine, "commit", Place(nth))

    return install


def while_told(_patch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    place = Place()

    def die(event: Event) -> None:
        place()

    workspace.bus.subscribe(TRADE_EXECUTED, die)


# A hold model of four coins: decided() once, then record() for each of four orders, then record() of the fills.
POINTS = {
    "before the decision is stored": before_method("decided"),
    "inside the transaction of the decision": before_commit(1),
    "decided and planned, nothing sent": after_method("decided"),
    "before the first order is sent": before_method("record", 1),
    "inside the transaction of the first order": before_commit(2),
    "one order sent, three not": after_method("record", 1),
    "three orders sent, one not": after_method("record", 3),
    "all orders sent, none filled": after_method("record", 4),
    "before the fills are stored": before_method("record", 5),
    "inside the transaction of the fills": before_commit(6),
    "filled, and nobody was told": after_method("record", 5),
    "while the pages are told": while_told,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def workspaces(folder: Path) -> Iterator[Callable[..., Workspace]]:
    opened: list[Workspace] = []

    def open_one(now_ms: int = NOON) -> Workspace:
        opened.append(Workspace(folder, now_ms))
        return opened[-1]

    yield open_one
    for workspace in opened:
        workspace.close()


def run_until_crash(workspace: Workspace, model_id: int) -> None:
    def live() -> None:
        workspace.step(model_id)
        workspace.settle(model_id, 2)

    with pytest.raises(Crash):
        live()


def counts(workspace: Workspace) -> dict[str, int]:
    with workspace.database.read() as session:
        rows = session.execute(select(Order.status, func.count()).group_by(Order.status))
        return dict(rows.all())


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("away_s", [1, 30])
def test_a_restart_goes_on_where_the_crash_was(
    workspaces: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch, point: str, away_s: int
) -> None:
    """Back within one cycle: the decision is carried out, once."""
    first = workspaces()
    model_id = first.hold_model()
    with monkeypatch.context() as patch:
        POINTS[point](patch, first)
        run_until_crash(first, model_id)
    now = first.clock.now_ms()
    first.close()
    again = workspaces(now + away_s * 1000)
    again.step(model_id)
    again.settle(model_id, 2)
    again.step(model_id, CYCLE_S)
    assert counts(again) == {"filled": len(COINS)}
    with again.database.read() as session:
        fills = session.scalars(select(Fill)).all()
        bought = [d for d in session.scalars(select(AiDecision)) if d.action == "LONG"]
    assert sorted(fill.coin for fill in fills) == sorted(COINS)
    assert sorted(d.coin for d in bought) == sorted(COINS)
    assert all(d.executed for d in bought)
    assert recompute(again.database, model_id, stale_before_ms=again.clock.now_ms()) == []


@pytest.mark.parametrize("point", POINTS)
def test_a_decision_that_grew_old_is_not_carried_out(
    workspaces: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Back after more than a cycle: what was never sent is marked expired with its reason; the rest stands."""
    first = workspaces()
    model_id = first.hold_model()
    with monkeypatch.context() as patch:
        POINTS[point](patch, first)
        run_until_crash(first, model_id)
    planned_before, submitted_before = counts(first).get("planned", 0), counts(first).get("submitted", 0)
    filled_before = counts(first).get("filled", 0)
    now = first.clock.now_ms()
    first.close()
    again = workspaces(now + 10 * MINUTE_MS)
    again.settle(model_id)
    again.settle(model_id, 2)
    found = counts(again)
    assert found.get("expired", 0) == planned_before
    assert found.get("filled", 0) == filled_before + submitted_before
    with again.database.read() as session:
        expired = session.scalars(select(Order).where(Order.status == OrderStatus.EXPIRED)).all()
    assert all("stopped before it was sent" in order.reason for order in expired)
    assert recompute(again.database, model_id, stale_before_ms=again.clock.now_ms()) == []


def test_the_fills_of_an_order_sent_before_the_crash_come_from_the_prices_missed(
    workspaces: Callable[..., Workspace],
) -> None:
    """Sent at 12:00, the server is away until 12:20: it fills at the open of the first whole minute."""
    first = workspaces()
    model_id = first.hold_model(coins=["BTC"])
    first.step(model_id)
    first.close()
    again = workspaces(NOON + 20 * MINUTE_MS)
    again.settle(model_id)
    (fill,) = again.models.trades(model_id)
    expected = again.market.candles("BTC", "1m", NOON, NOON + MINUTE_MS)
    assert fill["timestamp"] == NOON
    assert fill["price"] == pytest.approx(float(expected.open[0]))


def test_stops_that_were_passed_in_the_servers_absence_are_found(workspaces: Callable[..., Workspace]) -> None:
    first = workspaces()
    model_id = first.hold_model(coins=["BTC"], leverage=50, risk={"stop_loss_percent": 0.01})
    first.step(model_id)
    first.settle(model_id, 2)
    assert [row["signal"] for row in first.models.trades(model_id)] == ["buy_to_enter"]
    first.close()
    again = workspaces(NOON + 6 * 60 * MINUTE_MS)
    again.settle(model_id)
    rows = again.models.trades(model_id)
    assert [row["reason"] for row in rows] == ["stop_loss", "signal"]
    assert NOON < rows[0]["timestamp"] < again.clock.now_ms() - MINUTE_MS
    assert again.models.check(model_id) == []


def test_funding_is_paid_once_however_often_the_server_dies(workspaces: Callable[..., Workspace]) -> None:
    """16:00 UTC falls due while it is away, while it runs, and at the very moment of a restart."""
    due = NOON + 4 * 60 * MINUTE_MS
    first = workspaces(due - 5 * MINUTE_MS)
    model_id = first.hold_model(coins=["BTC"])
    first.step(model_id)
    first.settle(model_id, 2)
    first.close()
    for now in (due - 1000, due, due + 500, due + 3 * MINUTE_MS, due + 4 * MINUTE_MS):
        again = workspaces(now)
        again.settle(model_id)
        again.close()
    last = workspaces(due + 5 * MINUTE_MS)
    last.settle(model_id)
    with last.database.read() as session:
        from database import LedgerEntry

        refs = session.scalars(select(LedgerEntry.ref).where(LedgerEntry.account == "funding")).all()
    assert refs == [f"funding:BTC:{due}"]
    assert last.models.check(model_id) == []
