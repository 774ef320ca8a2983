"""Strategies in the database: unique names, built-in ones that respect their owner's changes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from database import Base, Database, Strategy, engine_options
from domain.errors import Conflict
from strategies.signals import compile_ruleset
from strategies.store import StrategyStore
from tests.rule_sets import condition, group, rule_set

RULES = {**rule_set(buy=[group(condition("MA", "golden_cross"))]), "name": "mine"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'curlew.db'}"
    engine = create_engine(url, **engine_options(url))
    Base.metadata.create_all(engine)
    yield Database(engine)
    engine.dispose()


@pytest.fixture
def store(database: Database) -> StrategyStore:
    store = StrategyStore(database)
    assert store.seed_builtin(now_ms=1) == 6
    return store


def test_seeding_again_changes_nothing(store: StrategyStore) -> None:
    before = store.list()
    assert store.seed_builtin(now_ms=2_000_000_000_000) == 0
    assert store.list() == before


def test_seeding_keeps_what_was_edited_and_renews_what_was_not(store: StrategyStore, database: Database) -> None:
    first, second, *_ = store.list()
    store.update(first.id, {"direction": "short", "description": "mine now"}, now_ms=5)
    with database.write() as session:
        session.get(Strategy, second.id).description = "as an older version had it"
    assert store.seed_builtin(now_ms=6) == 1
    assert store.get(first.id).description == "mine now"
    assert store.get(first.id).ruleset.direction == "short"
    assert store.get(second.id).description == second.description
    assert store.get(second.id).updated_ms == 6


def test_seeding_leaves_a_users_strategy_of_that_name_alone(store: StrategyStore, database: Database) -> None:
    first = store.list()[0]
    with database.write() as session:
        session.delete(session.get(Strategy, first.id))
    own = store.create({**RULES, "name": first.name}, now_ms=5)
    assert store.seed_builtin(now_ms=6) == 0
    assert store.get(own.id) == own


def test_an_update_that_says_nothing_new_is_none(store: StrategyStore) -> None:
    first = store.list()[0]
    again = store.update(first.id, first.ruleset.to_dict(), now_ms=9)
    assert (again.edited, again.updated_ms) == (False, first.updated_ms)


def test_stored_rule_sets_compile(store: StrategyStore) -> None:
    for strategy in store.list():
        assert compile_ruleset(store.load_ruleset(strategy.id)).ruleset == strategy.ruleset
    assert store.find(strategy.name) == strategy
    assert store.find("nobody") is None


def test_two_at_once_get_one_name(store: StrategyStore) -> None:
    def create(_: int) -> bool:
        try:
            store.create(RULES, now_ms=1)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, range(8))) == [False] * 7 + [True]
