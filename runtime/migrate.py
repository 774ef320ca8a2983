"""Bringing the database up to date, so that a failure costs nothing.

SQLite's file is copied aside before anything changes. All pending versions run in one transaction, and
a lock (a file's, and on PostgreSQL the database's own) keeps two processes apart.
"""

from __future__ import annotations

import fcntl
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from database import WRITER_LOCK, connect_args, db, prepare_postgresql
from domain.errors import Misconfigured
from runtime.clock import SystemClock

if TYPE_CHECKING:
    from flask import Flask

    from config import Settings

log = structlog.get_logger(__name__)

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
_REVISION = re.compile(r"^(revision|down_revision)\s*(?::[^=]+)?=\s*(?:None|['\"]([^'\"]+)['\"])", re.MULTILINE)


def migrate_safely(app: Flask, settings: Settings | None = None) -> bool:
    """Applies what is pending to the app's database. False (within milliseconds) where nothing is."""
    settings = settings or app.extensions["curlew"].settings
    with app.app_context():
        return migrate(db.engine, settings.data_dir)


def migrate(engine: Engine, data_dir: Path, migrations: Path = MIGRATIONS) -> bool:
    """Applies the pending versions; False where there are none. Misconfigured, with the database as it was
    before, where one fails. SQLite's file is copied to data_dir/backups first, if it holds anything."""
    head = head_revision(migrations / "versions")
    file = _sqlite_file(engine)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)  # DATABASE_URL may name a folder that is not there yet
    if current_revision(engine) == head:
        return False
    data_dir.mkdir(parents=True, exist_ok=True)
    with _exclusive(data_dir / "migrate.lock"):
        current = current_revision(engine)
        if current == head:
            return False
        started = time.perf_counter()
        copy = _copy_aside(engine, data_dir, current)
        try:
            _upgrade(engine, migrations)
        except Exception as error:
            _restore(engine, copy)
            kept = f" The copy is {copy}." if copy else ""
            raise Misconfigured(
                f"the database could not be migrated from {current or 'nothing'} to {head} and is as it was before; "
                f"go back to the Curlew that made it, or report this: {error}.{kept}"
            ) from error
        engine.dispose()  # pooled connections have prepared statements of the old tables
        log.info(
            "database migrated", before=current, after=head, copy=str(copy) if copy else None,
            seconds=round(time.perf_counter() - started, 3),
        )  # fmt: skip
    return True


# -- revisions ----------------------------------------------------------------------------


def head_revision(versions: Path) -> str:
    """The newest version, read off the files: importing alembic for it would cost every start a third of a second."""
    revisions: set[str] = set()
    followed: set[str] = set()
    for path in versions.glob("*.py"):
        for name, value in _REVISION.findall(path.read_text(encoding="utf-8")):
            if value:
                (revisions if name == "revision" else followed).add(value)
    heads = revisions - followed
    if len(heads) != 1:
        raise Misconfigured(f"{versions} must hold one newest version, but holds {sorted(heads) or 'none'}")
    return str(heads.pop())


def current_revision(engine: Engine) -> str | None:
    """The database's version; None for an empty database."""
    with _connected(engine) as connection:
        try:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        except DBAPIError as error:
            if "alembic_version" in str(error.orig):  # no such table
                return None
            raise
    return None if found is None else str(found)


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    """Misconfigured in the database's own words where it cannot be reached; they do not hold a password."""
    try:
        connection = engine.connect()
    except OperationalError as error:
        reason = " ".join(str(error.orig).split())
        raise Misconfigured(f"DATABASE_URL: the database cannot be reached: {reason}", field="database_url") from error
    with connection:
        yield connection


def _upgrade(engine: Engine, migrations: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with _migration_connection(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _check_references(connection)


@contextmanager
def _migration_connection(engine: Engine) -> Iterator[Connection]:
    """A connection of its own in one transaction, with SQLite's foreign keys off.

    Altering a table on SQLite drops the old one, which would cascade into every table that refers to it.
    """
    if engine.dialect.name == "postgresql":
        # What another process migrated while we waited for the lock must be seen then.
        own = create_engine(
            engine.url, poolclass=NullPool, isolation_level="READ COMMITTED", connect_args=connect_args(engine.url)
        )
        event.listen(own, "connect", prepare_postgresql)
    else:
        own = create_engine(engine.url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(own, "connect", _prepare)
        event.listen(own, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with own.connect() as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            _check_encoding(connection)
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")
        yield connection


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "busy_timeout=30000", "foreign_keys=OFF"):
        connection.execute(f"PRAGMA {pragma}").close()


def _check_encoding(connection: Connection) -> None:
    """Coins are listed under symbols of many scripts, which a database of one region cannot hold."""
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding not in ("UTF8", "SQL_ASCII"):
        raise Misconfigured(
            f"the database of DATABASE_URL keeps its text as {encoding}; make one with ENCODING 'UTF8'",
            field="database_url",
        )


def _check_references(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise Misconfigured(f"a row of {broken[0]} refers to a row of {broken[2]} that is not there")


# -- copies -------------------------------------------------------------------------------


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """An operating-system lock: it dies with its process."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sqlite_file(engine: Engine) -> Path | None:
    name = engine.url.database
    return Path(name) if engine.dialect.name == "sqlite" and name and name != ":memory:" else None


def _copy_aside(engine: Engine, data_dir: Path, revision: str | None) -> Path | None:
    file = _sqlite_file(engine)
    if file is None or not inspect(engine).get_table_names():
        return None
    folder = data_dir / "backups"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = SystemClock().now().strftime("%Y%m%dT%H%M%S.%f")
    copy = folder / f"curlew-{revision or 'unversioned'}-{stamp}.db"
    draft = copy.with_suffix(".part")
    # The backup API, unlike a copy of the file, sees what still lies in the write-ahead log.
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(draft)) as target:
        source.backup(target)
    draft.chmod(0o600)
    draft.rename(copy)
    return copy


def _schema(connection: sqlite3.Connection) -> list[Any]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
    has_version = any(name == "alembic_version" for _kind, name, _sql in rows)
    return rows + (connection.execute("SELECT version_num FROM alembic_version").fetchall() if has_version else [])


def _restore(engine: Engine, copy: Path | None) -> None:
    """Puts the copy back where a version committed half-way; the transaction has undone everything else."""
    file = _sqlite_file(engine)
    if file is None or copy is None:
        return
    engine.dispose()
    with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(file, timeout=30)) as target:
        if _schema(source) == _schema(target):
            return
        source.backup(target)
    log.warning("database restored", copy=str(copy))
