"""The user's strategies: named rule sets in the table `strategies`.

Lives here and not in `store/` because what is stored has to be a valid rule set, and only this
package knows what that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from database import Database, Model, Strategy
from domain.errors import Conflict, InvalidValue, NotFound
from strategies.builtin import BUILTIN
from strategies.ruleset import RuleSet, parse_ruleset

MAX_DESCRIPTION = 2000


@dataclass(frozen=True, slots=True)
class StoredStrategy:
    """`edited`: a built-in that its owner has changed. `used_by`: names of the models that follow it."""

    id: int
    ruleset: RuleSet
    description: str
    is_builtin: bool
    edited: bool
    created_ms: int
    updated_ms: int
    used_by: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.ruleset.name


class StrategyStore:
    """Thread-safe. Reads see what other processes have written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- reading ----------------------------------------------------------------------

    def list(self) -> list[StoredStrategy]:
        """The built-in ones first, then the user's, each in the order of their making."""
        with self._database.read() as session:
            rows = session.scalars(select(Strategy).order_by(Strategy.is_builtin.desc(), Strategy.id)).all()
            followers = _followers(session)
        return [_stored(row, followers) for row in rows]

    def get(self, strategy_id: int) -> StoredStrategy:
        with self._database.read() as session:
            return _stored(_row(session, strategy_id), _followers(session))

    def find(self, name: str) -> StoredStrategy | None:
        with self._database.read() as session:
            row = session.scalar(select(Strategy).where(Strategy.name == name))
            return None if row is None else _stored(row, _followers(session))

    def load_ruleset(self, strategy_id: int) -> RuleSet:
        """NotFound where there is none."""
        return self.get(strategy_id).ruleset

    # -- writing ----------------------------------------------------------------------

    def create(self, data: Mapping[str, Any], *, now_ms: int) -> StoredStrategy:
        """From a rule set with an optional `description`. InvalidValue names the field; Conflict: a name taken."""
        ruleset, description = _parse(data)
        with self._database.write() as session:
            _refuse_taken(session, ruleset.name)
            row = Strategy(
                name=ruleset.name, description=description, rule_set=ruleset.to_dict(),
                is_builtin=False, edited=False, created_ms=now_ms, updated_ms=now_ms,
            )  # fmt: skip
            session.add(row)
            session.flush()
            return _stored(row, {})

    def update(self, strategy_id: int, changes: Mapping[str, Any], *, now_ms: int) -> StoredStrategy:
        """Changes the fields named, each as a whole. A built-in keeps its name: Conflict otherwise."""
        with self._database.write() as session:
            row = _row(session, strategy_id)
            ruleset, description = _parse({**row.rule_set, "description": row.description, **changes})
            if ruleset.name != row.name:
                if row.is_builtin:
                    raise Conflict("a built-in strategy keeps its name; save a copy under another name", field="name")
                _refuse_taken(session, ruleset.name)
            rules = ruleset.to_dict()
            if rules != row.rule_set or description != row.description:
                row.name, row.rule_set, row.description = ruleset.name, rules, description
                row.edited = row.is_builtin
                row.updated_ms = now_ms
            session.flush()
            return _stored(row, _followers(session))

    def delete(self, strategy_id: int) -> None:
        """Conflict for a built-in one, and for one that a model follows."""
        with self._database.write() as session:
            row = _row(session, strategy_id)
            if row.is_builtin:
                raise Conflict(f"'{row.name}' is built in and stays; you can edit it or leave it unused")
            followers = _followers(session).get(row.id, ())
            if followers:
                names = ", ".join(f"'{name}'" for name in followers[:5]) + (", ..." if len(followers) > 5 else "")
                raise Conflict(f"'{row.name}' is in use by {names}; give them another strategy or delete them first")
            session.delete(row)

    def seed_builtin(self, *, now_ms: int) -> int:
        """Stores the built-in strategies that are missing and renews those that nobody edited; how many.

        A strategy of the user's own that happens to have the name is left alone.
        """
        wanted = {builtin.name: (builtin.ruleset.to_dict(), builtin.description) for builtin in BUILTIN}
        with self._database.read() as session:
            if not _outdated(session, wanted):
                return 0
        with self._database.write() as session:
            outdated = _outdated(session, wanted)
            for name, row in outdated.items():
                rules, description = wanted[name]
                if row is None:
                    row = Strategy(name=name, is_builtin=True, edited=False, created_ms=now_ms)
                    session.add(row)
                row.rule_set, row.description, row.updated_ms = rules, description, now_ms
            return len(outdated)


def _parse(data: Mapping[str, Any]) -> tuple[RuleSet, str]:
    description = data.get("description", "")
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION:
        raise InvalidValue(f"description: use a text of at most {MAX_DESCRIPTION} characters", field="description")
    ruleset = parse_ruleset({key: value for key, value in data.items() if key != "description"})
    return ruleset, description.strip()


def _row(session: Session, strategy_id: int) -> Strategy:
    row = session.get(Strategy, strategy_id)
    if row is None:
        raise NotFound(f"there is no strategy {strategy_id}")
    return row


def _refuse_taken(session: Session, name: str) -> None:
    if session.scalar(select(Strategy.id).where(Strategy.name == name)) is not None:
        raise Conflict(f"there is already a strategy called '{name}'; choose another name", field="name")


def _followers(session: Session) -> dict[int, tuple[str, ...]]:
    """Names of the models that follow each strategy, in the order of their making."""
    found: dict[int, tuple[str, ...]] = {}
    models = select(Model.strategy_id, Model.name).order_by(Model.id)
    for strategy_id, name in session.execute(models):
        if strategy_id is not None:
            found[strategy_id] = (*found.get(strategy_id, ()), name)
    return found


def _outdated(session: Session, wanted: Mapping[str, tuple[dict[str, Any], str]]) -> dict[str, Strategy | None]:
    """Built-in names to store: None where there is no row yet, else the row to renew."""
    rows = {row.name: row for row in session.scalars(select(Strategy).where(Strategy.name.in_(wanted)))}
    found: dict[str, Strategy | None] = {}
    for name, content in wanted.items():
        row = rows.get(name)
        if row is None or (row.is_builtin and not row.edited and (row.rule_set, row.description) != content):
            found[name] = row
    return found


def _stored(row: Strategy, followers: Mapping[int, tuple[str, ...]]) -> StoredStrategy:
    return StoredStrategy(
        id=row.id,
        ruleset=parse_ruleset(row.rule_set),
        description=row.description,
        is_builtin=row.is_builtin,
        edited=row.edited,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        used_by=followers.get(row.id, ()),
    )
