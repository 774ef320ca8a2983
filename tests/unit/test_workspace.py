"""What a workspace remembers, and what its owner may change."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from config import Settings
from database import Base, Database, engine_options
from store.workspace import Workspace, resolve_market


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'curlew.db'}"
    engine = create_engine(url, **engine_options(url))
    Base.metadata.create_all(engine)
    yield Database(engine)
    engine.dispose()


@pytest.fixture
def workspace(database: Database) -> Workspace:
    return Workspace(database)


def settings(market: str) -> Settings:
    return Settings(market=market)


def never() -> bool:
    raise AssertionError("the exchanges were asked")


def test_values_are_kept(workspace: Workspace, database: Database) -> None:
    assert workspace.get("nothing") is None
    assert workspace.get("nothing", 3) == 3
    for value in ("text", 5, 1.5, None, [1, {"a": [True]}], {"x": 1}):
        workspace.set("key", value)
        assert Workspace(database).get("key", "absent") == value


def test_the_first_to_say_counts(workspace: Workspace) -> None:
    assert workspace.set_first("seed", lambda: 1) == 1
    assert workspace.set_first("seed", lambda: 2) == 1


def test_many_first_starts_agree(database: Database) -> None:
    barrier = threading.Barrier(8)
    said: list[int] = []

    def start(number: int) -> None:
        def make() -> int:
            barrier.wait()  # all of them have seen that nothing is stored
            return number

        said.append(Workspace(database).set_first("anchor", make))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 8
    assert len(set(said)) == 1


@pytest.mark.parametrize(("answers", "market"), [(True, "exchanges"), (False, "simulated")])
def test_auto_asks_once_and_stays(workspace: Workspace, answers: bool, market: str) -> None:
    assert workspace.market is None
    assert resolve_market(settings("auto"), workspace, lambda: answers) == market
    assert resolve_market(settings("auto"), workspace, never) == market
    assert workspace.market == market


def test_an_explicit_market_asks_nobody(workspace: Workspace) -> None:
    assert resolve_market(settings("simulated"), workspace, never) == "simulated"
    assert workspace.market == "simulated"


def test_the_owner_may_change_it(workspace: Workspace) -> None:
    resolve_market(settings("auto"), workspace, lambda: False)
    assert resolve_market(settings("exchanges"), workspace, never) == "exchanges"
    assert resolve_market(settings("auto"), workspace, never) == "exchanges"


def test_the_seed_is_the_first_one(workspace: Workspace, database: Database) -> None:
    assert workspace.seed(20200101) == 20200101
    assert Workspace(database).seed(7) == 20200101


def test_time_is_remembered_forwards(workspace: Workspace) -> None:
    assert workspace.latest_ms == 0
    workspace.remember_time(500)
    workspace.remember_time(400)
    assert workspace.latest_ms == 500
