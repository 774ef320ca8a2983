"""PostgreSQL: everything that SQLite promises holds there too, on a real server of these tests' own."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sqlalchemy import create_engine, func, make_url, select, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from config import Settings
from database import (
    RUNTIME_LOCK,
    AccountSnapshot,
    Backtest,
    Base,
    Database,
    Fill,
    LedgerEntry,
    Model,
    Order,
    Position,
    Trade,
    WorkspaceValue,
    engine_options,
)
from domain.errors import Conflict, Misconfigured
from domain.market import Bars, SeriesKey
from domain.trading import ClosedTrade, Reason, Side
from runtime.lock import RuntimeLock
from runtime.migrate import MIGRATIONS, current_revision, head_revision, migrate
from runtime.services import Services
from store.audit import recompute
from store.backtests import CHUNK_ROWS, BacktestStore
from store.candles import CandleStore
from store.catalogue import Catalogue
from store.ledger import LedgerStore, StoredAccount
from store.models import ModelStore
from tests.conftest import ROOT, Server, StartServer, server_environment
from tests.fakes.postgresql import PASSWORD, PostgreSQL
from tests.fakes.workspace import Workspace
from tests.integration.test_crash import call, make_models, seen_fills
from tests.unit.test_ledger import filled

Connect = Callable[[str], Database]

LEAK = PASSWORD.split("/")[0]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    made = PostgreSQL()
    yield made
    made.close()


@pytest.fixture
def address(server: PostgreSQL) -> str:
    return server.new_database()


@pytest.fixture
def connect() -> Iterator[Callable[[str], Database]]:
    """`connect(address)`: a database as the application opens it."""
    opened: list[Database] = []

    def open_database(address: str) -> Database:
        url = Settings(database_url=address).sqlalchemy_url
        opened.append(Database(create_engine(url, **engine_options(url))))
        return opened[-1]

    yield open_database
    for each in opened:
        each.engine.dispose()


@pytest.fixture(scope="module")
def tables(server: PostgreSQL) -> str:
    """Address of a database with all tables."""
    address = server.new_database()
    url = Settings(database_url=address).sqlalchemy_url
    engine = create_engine(url, **engine_options(url))
    Base.metadata.create_all(engine)
    engine.dispose()
    return address


@pytest.fixture
def database(connect: Connect, tables: str) -> Iterator[Database]:
    """All tables, empty; emptied again is quicker than made again."""
    made = connect(tables)
    yield made
    with made.engine.begin() as connection:
        names = ", ".join(Base.metadata.tables)
        connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`elsewhere("b")`: from now on this is another machine, with a folder for temporary files of its own."""

    def move(name: str) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))

    move("a")
    return move


def wait_for(what: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


# -- addresses ----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRES"])
def test_every_form_of_an_address_names_our_driver(scheme: str) -> None:
    url = make_url(Settings(database_url=f" {scheme}://curlew:a%40b/c@db:6432/x?sslmode=require ").sqlalchemy_url)
    assert (url.drivername.lower(), url.password, url.host, url.port) == ("postgresql+psycopg", "a@b/c", "db", 6432)
    assert url.query == {"sslmode": "require"}


def test_an_address_keeps_what_it_says_itself() -> None:
    options = engine_options("postgresql+psycopg://db/x?connect_timeout=3&application_name=mine")
    assert options["connect_args"] == {"client_encoding": "utf8"}


def test_a_password_that_would_be_taken_for_a_host_is_refused_without_being_named() -> None:
    with pytest.raises(ValidationError, match="%40") as error:
        Settings(database_url=f"postgres://curlew:x@{LEAK}@db/x")
    assert LEAK not in "".join(str(each["msg"]) for each in error.value.errors(include_input=False))
    assert LEAK not in repr(Settings(database_url=f"postgres://curlew:{LEAK}@db/x"))


# -- migrations ---------------------------------------------------------------------------


def schema_of(engine: Engine) -> dict[str, list[Any]]:
    """Columns, constraints and indexes as the server describes them."""
    questions = {
        "columns": "SELECT table_name, column_name, data_type, is_nullable, character_maximum_length, "
        "numeric_precision, numeric_scale, column_default FROM information_schema.columns "
        "WHERE table_schema = 'public'",
        "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace",
        "indexes": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }
    with engine.connect() as connection:
        answers = {name: connection.execute(text(question)).all() for name, question in questions.items()}
    return {
        name: sorted(map(tuple, (row for row in rows if row[0] != "alembic_version")), key=repr)
        for name, rows in answers.items()
    }


def test_from_empty_equals_the_models(server: PostgreSQL, connect: Connect, tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    migrated, made = connect(server.new_database()), connect(server.new_database())
    assert migrate(migrated.engine, tmp_path)
    assert not migrate(migrated.engine, tmp_path)
    Base.metadata.create_all(made.engine)
    with migrated.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    found = schema_of(migrated.engine)
    assert found == schema_of(made.engine)
    assert min(map(len, found.values())) > 20


def test_a_failed_migration_leaves_the_database_as_it_was(address: str, connect: Connect, tmp_path: Path) -> None:
    later = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, later, ignore=shutil.ignore_patterns("__pycache__"))
    head = head_revision(later / "versions")
    code = """\
        import sqlalchemy as sa
        from alembic import op

        revision = "9999"
        down_revision = "HEAD"


        def upgrade():
            op.add_column("coins", sa.Column("colour", sa.Text()))
            op.execute("INSERT INTO nothing_here VALUES (1)")
        """
    (later / "versions" / "9999_test.py").write_text(textwrap.dedent(code).replace("HEAD", head))
    engine = connect(address).engine
    migrate(engine, tmp_path)
    before = schema_of(engine)
    with pytest.raises(Misconfigured, match="as it was before") as error:
        migrate(engine, tmp_path, later)
    assert LEAK not in str(error.value)
    assert (schema_of(engine), current_revision(engine)) == (before, head)


def test_machines_do_not_migrate_at_once(address: str, connect: Connect, tmp_path: Path) -> None:
    """Three with a folder of their own each: no file can tell them of each other."""
    engines = [connect(address).engine for _ in range(3)]
    together = threading.Barrier(3)

    def work(number: int) -> None:
        together.wait(timeout=30)
        migrate(engines[number], tmp_path / str(number))

    with ThreadPoolExecutor(3) as crowd:
        list(crowd.map(work, range(3)))
    assert current_revision(engines[0]) == head_revision(MIGRATIONS / "versions")


def test_a_database_of_one_region_is_refused(server: PostgreSQL, connect: Connect, tmp_path: Path) -> None:
    latin = connect(server.new_database("ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'"))
    with pytest.raises(Misconfigured, match="UTF8"):
        migrate(latin.engine, tmp_path)


def test_a_server_that_cannot_be_used_is_told_in_words(
    server: PostgreSQL, connect: Connect, address: str, tmp_path: Path
) -> None:
    for wrong, words in (
        (address.replace(f":{server.port}/", ":1/"), "cannot be reached"),
        (address.replace(f":{server.port}/", f":{server.port}/not-"), "does not exist"),
    ):
        with pytest.raises(Misconfigured, match=words) as error:
            migrate(connect(wrong).engine, tmp_path)
        assert LEAK not in str(error.value)
    done = flask(tmp_path / "data", address.replace(PASSWORD, f"{LEAK}-wrong"), "models", "list")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: DATABASE_URL: the database cannot be reached")
    assert "password authentication failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert LEAK not in done.stderr + done.stdout


# -- sessions -----------------------------------------------------------------------------


def count_up(database: Database, key: str = "count") -> None:
    with database.write() as session:
        row = session.get(WorkspaceValue, key)
        if row is None:
            session.add(WorkspaceValue(key=key, value=1))
        else:
            time.sleep(0.001)  # room for another writer, if it were let in
            row.value += 1


def counted(database: Database, key: str = "count") -> int:
    with database.read() as session:
        row = session.get(WorkspaceValue, key)
        return 0 if row is None else row.value


def test_what_a_writer_has_read_holds_until_it_commits(database: Database, connect: Connect, tables: str) -> None:
    """Fifty threads over two pools, as two processes have them: no count is lost, none is refused."""
    pools = [database, connect(tables)]
    together = threading.Barrier(50)

    def work(number: int) -> None:
        together.wait(timeout=60)
        for _turn in range(4):
            count_up(pools[number % 2])

    with ThreadPoolExecutor(50) as crowd:
        list(crowd.map(work, range(50)))
    assert counted(database) == 200


def test_a_reader_sees_one_state_and_changes_none(database: Database) -> None:
    count_up(database)
    with database.read() as session:
        assert session.get(WorkspaceValue, "count").value == 1  # type: ignore[union-attr]
        count_up(database)
        count_up(database, "other")
        assert session.scalars(select(WorkspaceValue.key)).all() == ["count"]
    assert counted(database) == 2
    with pytest.raises(DBAPIError, match="read-only"), database.read() as session:
        session.execute(text("DELETE FROM workspace"))
    count_up(database)  # the connection goes back to the pool as it was
    assert counted(database) == 3


def test_a_write_inside_a_write_is_an_error_and_no_deadlock(database: Database) -> None:
    with pytest.raises(RuntimeError, match="inside"), database.write(), database.write():
        pass
    count_up(database)
    assert counted(database) == 1


def test_nobody_waits_for_ever_for_a_writer_that_hangs(
    database: Database, connect: Connect, tables: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database.WAIT_S", 0.2)
    other = connect(tables)
    with database.write(), pytest.raises(OperationalError, match="lock timeout"):
        count_up(other)


def test_a_connection_that_was_cut_is_replaced(database: Database, server: PostgreSQL) -> None:
    count_up(database)
    name = database.engine.url.database
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
    count_up(database)
    assert counted(database) == 2


def test_a_crowd_of_requests(address: str, tmp_path: Path) -> None:
    """Fifty at once: each makes coins of its own and one that all of them want."""
    from tests.web.conftest import build_small_app

    app = build_small_app(Settings(data_dir=tmp_path, market="simulated", database_url=address))
    together = threading.Barrier(50)

    def work(worker: int) -> list[int]:
        client = app.test_client(use_cookies=False)
        together.wait(timeout=60)
        symbols = [f"C{worker}X0", f"C{worker}X1", "SAME"]
        return [client.post("/api/coins", json={"symbol": s, "name": "ПЕПЕ 佩佩"}).status_code for s in symbols]

    with ThreadPoolExecutor(50) as crowd:
        statuses = sorted(itertools.chain.from_iterable(crowd.map(work, range(50))))
    app.extensions["curlew"].database.engine.dispose()
    assert statuses == [201] * 101 + [409] * 49


# -- stores -------------------------------------------------------------------------------


def test_money_keeps_every_digit(database: Database) -> None:
    amounts = [Decimal("9999999999999999.123456789012"), Decimal("-0.000000000001"), Decimal(0)]
    with database.write() as session:
        session.add(Model(name="m", kind="hold", workspace_market="simulated", initial_capital=amounts[0],
                          interval_seconds=60, interval="1m", trade_fee_rate=0.1 + 0.2, settled_ms=2**62,
                          created_ms=0))  # fmt: skip
        session.flush()
        session.add_all(
            LedgerEntry(model_id=1, ref=str(i), timestamp_ms=0, account="cash", amount=amount)
            for i, amount in enumerate(amounts)
        )
    with database.read() as session:
        assert session.scalars(select(LedgerEntry.amount).order_by(LedgerEntry.id)).all() == amounts
        model = session.get(Model, 1)
        assert model is not None
        assert (model.trade_fee_rate, model.settled_ms) == (0.1 + 0.2, 2**62)


def test_candles_go_through_the_tail_into_their_file(database: Database, tmp_path: Path) -> None:
    store = CandleStore(tmp_path / "candles", database)
    key = SeriesKey("binance", "spot", "币安人生USDT", "1m")
    times = np.arange(1500, dtype=np.int64) * 60_000
    prices = np.sqrt(np.arange(1500) + 0.1) * 1e-7
    bars = Bars(times, prices, prices, prices, prices, np.full(1500, 1e300))
    for first in range(0, 1500, 300):  # 1000 rows in the tail go into the file
        store.append(key, bars.between(first * 60_000, (first + 300) * 60_000))
    store.append(key, bars.between(0, 60_000_000))  # again
    later = CandleStore(tmp_path / "candles", database)
    assert [getattr(info, "rows", 0) for info in later.list()] == [1500]
    for stored, given in zip(later.load(key).columns(), bars.columns(), strict=True):
        np.testing.assert_array_equal(stored, given)
    assert store.compact(key)
    assert store.delete(key)
    assert later.list() == []


def test_the_catalogue_is_loaded_around_what_a_user_changed(database: Database) -> None:
    catalogue = Catalogue(database)
    assert catalogue.load()
    assert not catalogue.load()
    coin = catalogue.parse_coin("BTC")
    catalogue.update(coin.id, {"name": "我的", "market_cap_rank": 7})
    with database.write() as session:
        session.execute(text("DELETE FROM workspace WHERE key = 'catalogue_sha256'"))
    assert catalogue.load()
    assert (catalogue.get(coin.id).name, len(catalogue.list_coins()) >= 120) == ("我的", True)
    made = catalogue.create({"symbol": "हिन्दी", "name": "x", "binance_symbol": "हिन्दीUSDT"}, now_ms=1)
    assert catalogue.coin_for("binance", "spot", "हिन्दीUSDT") == made.symbol


def test_runs_are_kept_listed_and_removed(database: Database, tmp_path: Path) -> None:
    store = BacktestStore(database, tmp_path)
    run = store.create("SMA", {"coins": ["BTC"]}, 1)
    trades = [ClosedTrade("BTC", Side.LONG, i, 1.5, i + 1, 2.5, 0.1 + i, 1.0, 0.0, 0.0, 0.0, 0.0, Reason.SIGNAL)
              for i in range(CHUNK_ROWS + 1)]  # fmt: skip
    store.save_trades(run, trades)
    report = {"settings": {"name": "naïve"}, "summary": {"total_return": 1e-300, "sharpe": None}, "equity": [[0, 1.0]]}
    assert store.update(run, only_if=["queued"], status="done", progress=1.0, report=report)
    assert not store.update(run, only_if=["queued"], status="failed")
    ((row, settings, summary),) = store.load_recent(5)
    assert (row.id, settings, summary) == (run, report["settings"], report["summary"])
    assert [trade["quantity"] for trade in store.iter_trades(run)] == [trade.quantity for trade in trades]
    other = store.create("cut off", {}, 2)
    assert store.interrupt_unfinished(3) == [other]
    store.remove(run)
    with database.read() as session:
        assert session.scalars(select(Backtest.status)).all() == ["interrupted"]


# -- accounts -----------------------------------------------------------------------------


def lived_through(workspace: Workspace) -> list[list[tuple[Any, ...]]]:
    """A quarter of an hour of two accounts; everything that was written down."""
    hold, busy = workspace.hold_model(), workspace.busy_model(leverage=3.0)
    for _minute in range(30):
        for model_id in (hold, busy):
            workspace.settle(model_id, 20)
            workspace.step(model_id, 10)
    return [written(workspace.database, table) for table in (Fill, LedgerEntry, Position, Trade, AccountSnapshot)]


def written(database: Database, table: Any) -> list[tuple[Any, ...]]:
    """Rows in the order of their ids, without the names of orders, which are others each time."""
    columns = [column for column in table.__table__.columns if column.name not in ("id", "ref", "client_id")]
    with database.read() as session:
        rows = session.execute(select(*columns).order_by(table.id)).all()
    return [tuple(each | {"opened_by": ""} if isinstance(each, dict) else each for each in row) for row in rows]


def test_an_account_lives_as_it_does_on_sqlite(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same market gives the same fills and the same books, to the last digit."""
    with closing(Workspace(tmp_path / "sqlite")) as here:
        on_sqlite = lived_through(here)
    assert len(on_sqlite[0]) > 20
    monkeypatch.setenv("DATABASE_URL", address)
    with closing(Workspace(tmp_path / "postgresql")) as there:
        assert there.database.engine.dialect.name == "postgresql"
        assert lived_through(there) == on_sqlite
        before, now_ms = accounts_of(there), there.clock.now_ms()
    with closing(Workspace(tmp_path / "postgresql", now_ms)) as again:
        assert accounts_of(again) == before
        for model_id in before:
            assert again.models.check(model_id) == []
            again.step(model_id, 60)
            assert again.models.check(model_id) == []


def accounts_of(workspace: Workspace) -> dict[int, StoredAccount]:
    """By model, as a restart reads them back."""
    ledger = LedgerStore(workspace.database)
    return {model["id"]: ledger.load_state(model["id"]) for model in workspace.models.list()}


def test_nothing_is_stored_twice_and_nothing_by_halves(database: Database) -> None:
    values = {"name": "m", "kind": "hold", "workspace_market": "simulated", "interval": "1m", "interval_seconds": 60,
              "initial_capital": Decimal(10_000), "trade_fee_rate": 0.001, "risk": {}}  # fmt: skip
    model_id = ModelStore(database).create(values, (), 0).id
    journal = LedgerStore(database).journal(model_id)
    journal.record(filled(1))
    for again in (filled(1), replace(filled(2), fills=filled(1).fills), replace(filled(2), orders=())):
        with pytest.raises(Conflict):
            journal.record(again)
    assert [len(written(database, table)) for table in (Order, Fill, LedgerEntry)] == [1, 1, 2 + 3]
    journal.record(filled(2))
    assert [len(written(database, table)) for table in (Order, Fill, LedgerEntry)] == [2, 2, 2 + 6]


# -- who runs the accounts ----------------------------------------------------------------


def test_the_lock_reaches_other_machines(database: Database, elsewhere: Callable[[str], None]) -> None:
    one = RuntimeLock(database.engine.url)
    same = RuntimeLock(database.engine.url)
    elsewhere("b")
    other = RuntimeLock(database.engine.url)
    assert other.path != one.path == same.path
    assert one.acquire()
    assert not same.acquire()
    assert not other.acquire()
    assert one.is_held()
    one.release()
    assert other.acquire()
    assert not one.acquire()
    other.release()


def cut_off(server: PostgreSQL, database: Database) -> None:
    holders = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database "
        "WHERE locktype = 'advisory' AND granted AND objid = %s AND datname = %s"
    )
    server.run(holders, RUNTIME_LOCK, database.engine.url.database)


def test_a_lock_that_was_lost_stays_lost_until_it_is_regained(
    database: Database, server: PostgreSQL, elsewhere: Callable[[str], None]
) -> None:
    one = RuntimeLock(database.engine.url)
    elsewhere("b")
    other = RuntimeLock(database.engine.url)
    assert one.acquire()
    cut_off(server, database)
    assert other.acquire()
    assert not one.is_held()
    assert not one.acquire()
    assert not one.regain()
    other.release()
    assert not one.is_held()
    assert one.regain()
    assert one.is_held()
    assert not other.acquire()
    one.release()
    assert other.acquire()
    other.release()


def test_the_accounts_rest_while_another_machine_has_the_lock(
    address: str, server: PostgreSQL, tmp_path: Path, elsewhere: Callable[[str], None]
) -> None:
    from app import create_app, start_runtime

    app = create_app(
        Settings(data_dir=tmp_path / "data", database_url=address, market="simulated", simulated_speed=600,
                 log_level="ERROR")
    )  # fmt: skip
    services: Services = app.extensions["curlew"]
    start_runtime(app)
    runner = services.runner
    assert runner is not None
    try:
        wait_for(lambda: runner.is_running and services.models.accounts.peek(1) is not None)
        with server.connect(str(services.database.engine.url.database)) as other:
            waiting = threading.Thread(target=other.execute, args=(f"SELECT pg_advisory_lock({RUNTIME_LOCK})",))
            waiting.start()
            time.sleep(0.1)
            cut_off(server, services.database)
            waiting.join(10)
            wait_for(lambda: runner.state == "elsewhere")
            wait_for(lambda: services.models.accounts.peek(1) is None)
            before = cycles(services)
            with pytest.raises(Conflict, match="another server"):
                services.models.execute(1)
            time.sleep(0.5)
            assert cycles(services) == before
        wait_for(lambda: runner.is_running)
        wait_for(lambda: services.models.accounts.peek(1) is not None)
    finally:
        runner.stop()
        now, books = cycles(services), services.models.check(1)
        services.database.engine.dispose()
    assert now > before
    assert books == []


def cycles(services: Services) -> int:
    with services.database.read() as session:
        return session.scalar(select(func.sum(Model.cycles))) or 0


# -- the server ---------------------------------------------------------------------------


def flask(folder: Path, address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = server_environment(folder, 5000, DATABASE_URL=address)
    return subprocess.run([sys.executable, "-m", "flask", *arguments], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip


def fills_of(url: str) -> dict[int, tuple[object, ...]]:
    """None while a request fails."""
    try:
        return seen_fills(url)
    except urllib.error.HTTPError:
        return {}


@pytest.fixture
def start_here(address: str, start_server: StartServer, tmp_path: Path) -> Callable[[int], Server]:
    """`start_here(speed)`: a server over this test's database and data folder."""
    (tmp_path / "tmp").mkdir()

    def start(speed: int) -> Server:
        extra = {"DATABASE_URL": address, "SIMULATED_SPEED": str(speed), "TMPDIR": str(tmp_path / "tmp")}
        return start_server(tmp_path / "data", **extra)

    return start


def books_of(database: Database) -> dict[int, list[str]]:
    """What is wrong with them, by model."""
    with database.read() as session:
        ids = session.scalars(select(Model.id)).all()
    return {model_id: recompute(database, model_id) for model_id in ids}


def test_a_server_trades_is_killed_and_comes_back(
    address: str, connect: Connect, start_here: Callable[[int], Server], tmp_path: Path
) -> None:
    first = start_here(60)
    make_models(first.url)
    shown = wait_for(lambda: len(found := fills_of(first.url)) >= 5 and found, 30)
    page = first.get("/settings").decode()
    first.kill()
    books = books_of(connect(address))
    assert len(books) > 3
    assert not any(books.values()), books

    second = start_here(60)
    wait_for(lambda: call(second.url, "GET", "/api/health")["scheduler"] == "running")
    assert shown.items() <= fills_of(second.url).items()
    wait_for(lambda: len(fills_of(second.url)) > len(shown), 30)
    # Beside the running server; an order in the middle of its life is explained a moment later.
    checked = wait_for(lambda: (done := flask(tmp_path / "data", address, "models", "check")).returncode == 0 and done)
    assert checked.stdout.count(": right") == len(books)
    assert second.stop() == 0
    assert not (tmp_path / "data" / "curlew.db").exists()
    assert "***" in page
    assert LEAK not in page + first.log() + second.log() + checked.stdout + checked.stderr


@pytest.mark.long
def test_trading_goes_on_after_the_database_was_away(
    address: str, server: PostgreSQL, connect: Connect, start_here: Callable[[int], Server]
) -> None:
    """The short form is the lock that is lost and regained, above."""
    trading = start_here(600)
    make_models(trading.url)
    wait_for(lambda: fills_of(trading.url), 30)
    server.stop()
    with pytest.raises(urllib.error.HTTPError) as away:
        trading.get("/api/models")
    assert away.value.code == 503
    away.value.close()
    server.start()
    known = len(wait_for(lambda: fills_of(trading.url)))
    wait_for(lambda: len(fills_of(trading.url)) > known, 30)
    assert call(trading.url, "GET", "/api/health")["scheduler"] == "running"
    assert trading.stop() == 0
    books = books_of(connect(address))
    assert not any(books.values()), books
    assert LEAK not in trading.log()
