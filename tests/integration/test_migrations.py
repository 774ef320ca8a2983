"""Migrations: from empty to the models, safely, one process at a time, and for nothing where nothing is pending."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine

from database import Base, Coin, Database, engine_options
from domain.errors import Misconfigured
from runtime.migrate import MIGRATIONS, current_revision, head_revision, migrate
from tests.conftest import ROOT


def engine_of(folder: Path) -> Engine:
    url = f"sqlite:///{folder / 'curlew.db'}"
    return Database(create_engine(url, **engine_options(url))).engine


def add_coin(engine: Engine, symbol: str = "BTC") -> None:
    with Database(engine).write() as session:
        session.add(Coin(symbol=symbol, name=symbol, created_ms=1))


def coins(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT symbol FROM coins ORDER BY id")).scalars())


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """A copy of our migrations, to which a test adds versions of its own."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def add_version(migrations: Path, body: str, revision: str = "9999") -> None:
    head = head_revision(migrations / "versions")
    code = f"""\
        import sqlalchemy as sa
        from alembic import op

        revision = {revision!r}
        down_revision = {head!r}


        def upgrade():
        """
    text = textwrap.dedent(code) + textwrap.indent(textwrap.dedent(body), "    ")
    (migrations / "versions" / f"{revision}_test.py").write_text(text)


def test_from_empty_equals_the_models(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = engine_of(tmp_path)
    assert migrate(engine, tmp_path)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    made = engine_of(fresh)
    Base.metadata.create_all(made)
    # Checks, defaults and AUTOINCREMENT, which alembic's comparison does not see.
    assert normal_schema(fresh / "curlew.db") == normal_schema(tmp_path / "curlew.db")


def normal_schema(path: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE tbl_name <> 'alembic_version'").fetchall()
    # The order of constraints and columns' commas differ in form only.
    return {name: sorted(part.strip(" ,\n\t") for part in (sql or "").split("\n")) for name, sql in rows}


def test_nothing_pending_costs_next_to_nothing(tmp_path: Path) -> None:
    engine = engine_of(tmp_path)
    migrate(engine, tmp_path)
    took = []
    for _each in range(5):
        started = time.perf_counter()
        assert not migrate(engine, tmp_path)
        took.append(time.perf_counter() - started)
    assert min(took) < 0.05
    assert not (tmp_path / "backups").exists()


def test_a_later_version_copies_the_file_aside_first(tmp_path: Path, later: Path) -> None:
    engine = engine_of(tmp_path)
    migrate(engine, tmp_path)
    add_coin(engine)
    add_version(later, "op.add_column('coins', sa.Column('colour', sa.Text()))")
    assert migrate(engine, tmp_path, later)
    assert current_revision(engine) == "9999"
    with engine.connect() as connection:
        assert connection.execute(text("SELECT symbol, colour FROM coins")).all() == [("BTC", None)]
    (copy,) = (tmp_path / "backups").iterdir()
    assert copy.name.startswith("curlew-0001-")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT symbol FROM coins").fetchall() == [("BTC",)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]


def test_altering_a_table_keeps_the_rows_that_refer_to_it(tmp_path: Path, later: Path) -> None:
    """SQLite alters by dropping the old table, which with foreign keys on empties all that refer to it."""
    engine = engine_of(tmp_path)
    migrate(engine, tmp_path)
    add_coin(engine)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO instruments (coin_id, venue, market, symbol, multiplier, contract_size, tiers)"
                 " VALUES (1, 'binance', 'spot', 'BTCUSDT', '1', '1', '[]')")
        )  # fmt: skip
    add_version(
        later,
        """
        with op.batch_alter_table('coins', recreate='always') as batch:
            batch.add_column(sa.Column('colour', sa.Text()))
        """,
    )
    migrate(engine, tmp_path, later)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT symbol FROM instruments")).scalars().all() == ["BTCUSDT"]


FAILURES = {
    "at once": "raise RuntimeError('made to fail')",
    "half-way": """
        op.add_column('coins', sa.Column('colour', sa.Text()))
        op.execute("DELETE FROM coins")
        raise RuntimeError('made to fail')
        """,
    "wrong statement": """
        op.add_column('coins', sa.Column('colour', sa.Text()))
        op.execute("INSERT INTO nothing_here VALUES (1)")
        """,
    # Foreign keys are off while it runs: a reference that it breaks is found before the end.
    "orphans": """op.execute("INSERT INTO coin_group_members (group_id, coin_id, sort_order) VALUES (7, 8, 0)")""",
    # A version that commits by itself is not undone by a rollback, only by the copy.
    "committed": """
        op.execute("DELETE FROM coins")
        op.add_column('coins', sa.Column('colour', sa.Text()))
        op.get_bind().exec_driver_sql('COMMIT')
        op.get_bind().exec_driver_sql('BEGIN')
        raise RuntimeError('made to fail')
        """,
}


@pytest.mark.parametrize("body", FAILURES.values(), ids=FAILURES)
def test_a_failed_migration_leaves_the_database_as_it_was(tmp_path: Path, later: Path, body: str) -> None:
    engine = engine_of(tmp_path)
    migrate(engine, tmp_path)
    add_coin(engine)
    before = normal_schema(tmp_path / "curlew.db")
    add_version(later, body)
    with pytest.raises(Misconfigured, match="as it was before"):
        migrate(engine, tmp_path, later)
    assert normal_schema(tmp_path / "curlew.db") == before
    assert coins(engine) == ["BTC"]
    assert current_revision(engine) == "0001"
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    add_coin(engine, "ETH")  # and goes on working
    assert coins(engine) == ["BTC", "ETH"]


def test_a_failed_first_migration_leaves_nothing(tmp_path: Path, later: Path) -> None:
    engine = engine_of(tmp_path)
    add_version(later, "raise RuntimeError('made to fail')")
    with pytest.raises(Misconfigured):
        migrate(engine, tmp_path, later)
    assert normal_schema(tmp_path / "curlew.db") == {}
    assert migrate(engine, tmp_path)


def test_two_processes_do_not_migrate_at_once(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from sqlalchemy import create_engine
        from database import Database, engine_options
        from runtime.migrate import migrate
        folder = Path(sys.argv[1])
        url = f"sqlite:///{folder / 'curlew.db'}"
        print("MIGRATED" if migrate(Database(create_engine(url, **engine_options(url))).engine, folder) else "NOTHING")
    """)
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _each in range(3)
    ]
    said = [process.communicate(timeout=120)[0].split()[-1] for process in running]
    assert sorted(said) == ["MIGRATED", "NOTHING", "NOTHING"]
    assert not (tmp_path / "backups").exists()


def test_there_is_one_newest_version(tmp_path: Path, later: Path) -> None:
    assert head_revision(MIGRATIONS / "versions") == "0001"
    (later / "versions" / "other.py").write_text("revision = '0002'\ndown_revision = None\n")
    with pytest.raises(Misconfigured, match="one newest version"):
        head_revision(later / "versions")
    empty = tmp_path / "none"
    empty.mkdir()
    with pytest.raises(Misconfigured, match="none"):
        head_revision(empty)


def test_the_folder_of_a_new_database_is_made(tmp_path: Path) -> None:
    engine = engine_of(tmp_path / "not" / "there")
    assert migrate(engine, tmp_path / "data")
    assert (tmp_path / "not" / "there" / "curlew.db").is_file()
    engine.dispose()
