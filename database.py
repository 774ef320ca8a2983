"""Engine, session, PRAGMAs and table classes.

Times are BIGINT milliseconds UTC. Money is an exact decimal: TEXT on SQLite, whose NUMERIC
is a float. Candle prices in `market_data_cache` are floats, as they are everywhere else.
What is written for SQLite holds on PostgreSQL too: one writer at a time, and reads of one state.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, ClassVar

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, Integer, MetaData, Numeric, String, Text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy import event as sa_event
from sqlalchemy import text as sql_text
from sqlalchemy.engine import URL, Connection, Dialect, Engine, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.types import TypeDecorator, TypeEngine

MONEY_QUANTUM = Decimal("1e-12")

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def to_money(value: Decimal | float | int | str) -> Decimal:
    """Exact decimal in steps of 1e-12; a float is taken at its shortest repr, not its binary tail."""
    exact = value if isinstance(value, Decimal) else Decimal(str(value))
    if not exact.is_finite():
        raise ValueError(f"{value!r} is not an amount")
    return exact.quantize(MONEY_QUANTUM, rounding=ROUND_HALF_EVEN)


class Money(TypeDecorator[Decimal]):
    """Exact decimals with 12 places. Sums and comparisons are made in Python, never in SQL."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Text())
        return dialect.type_descriptor(Numeric(38, 12))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        amount = to_money(value)
        return format(amount, "f") if dialect.name == "sqlite" else amount

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        Decimal: Money(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        str: Text(),
    }


# Table classes are plain SQLAlchemy; Flask-SQLAlchemy builds the engine and serves the migrations.
db = SQLAlchemy(metadata=Base.metadata)

Id = Mapped[int]


def _id() -> Any:
    # SQLite gives rowid semantics (and never reuses an id) to INTEGER PRIMARY KEY AUTOINCREMENT only.
    return mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True)


def _ms() -> Any:
    return mapped_column(BigInteger, nullable=False)


def _fk(target: str, *, ondelete: str = "CASCADE", **options: Any) -> Any:
    return mapped_column(ForeignKey(target, ondelete=ondelete), **options)


AUTOINCREMENT = {"sqlite_autoincrement": True}


# -- workspace and access -----------------------------------------------------------------


class WorkspaceValue(Base):
    """Facts of this workspace that are not settings: its market, the clock's anchor, first start."""

    __tablename__ = "workspace"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)


class ApiToken(Base):
    """A program's access where ADMIN_PASSWORD is set; only the SHA-256 of the token is kept."""

    __tablename__ = "api_tokens"
    __table_args__ = (AUTOINCREMENT,)
    id: Id = _id()
    name: Mapped[str]
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_ms: Mapped[int] = _ms()
    last_used_ms: Mapped[int | None] = mapped_column(BigInteger)


# -- coins --------------------------------------------------------------------------------


class Coin(Base):
    """A coin. `edited` names the fields that a user changed: loading the catalogue leaves those alone."""

    __tablename__ = "coins"
    __table_args__ = (Index(None, "category"), AUTOINCREMENT)
    id: Id = _id()
    symbol: Mapped[str] = mapped_column(String(20), unique=True)
    name: Mapped[str]
    category: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True)
    binance_symbol: Mapped[str | None]
    okx_symbol: Mapped[str | None]
    hyperliquid_symbol: Mapped[str | None]
    coingecko_id: Mapped[str | None]
    market_cap_rank: Mapped[int | None]
    notes: Mapped[str] = mapped_column(default="")
    tags: Mapped[list[Any]] = mapped_column(default=list)
    aliases: Mapped[list[Any]] = mapped_column(default=list)  # [{symbol, until_date}] of renamed coins
    edited: Mapped[list[Any]] = mapped_column(default=list)
    created_ms: Mapped[int] = _ms()
    instruments: Mapped[list[Instrument]] = relationship(back_populates="coin", passive_deletes=True)


class CoinGroup(Base):
    __tablename__ = "coin_groups"
    __table_args__ = (AUTOINCREMENT,)
    id: Id = _id()
    name: Mapped[str] = mapped_column(String(80), unique=True)
    description: Mapped[str] = mapped_column(default="")
    is_builtin: Mapped[bool] = mapped_column(default=False)
    edited: Mapped[bool] = mapped_column(default=False)
    members: Mapped[list[CoinGroupMember]] = relationship(
        back_populates="group", cascade="all, delete-orphan", order_by="CoinGroupMember.sort_order"
    )


class CoinGroupMember(Base):
    __tablename__ = "coin_group_members"
    __table_args__ = (Index(None, "coin_id"),)
    group_id: Mapped[int] = _fk("coin_groups.id", primary_key=True)
    coin_id: Mapped[int] = _fk("coins.id", primary_key=True)
    sort_order: Mapped[int] = mapped_column(default=0)
    group: Mapped[CoinGroup] = relationship(back_populates="members")
    coin: Mapped[Coin] = relationship()


class Instrument(Base):
    """What a venue lists for a coin; see domain.market.Instrument for the units."""

    __tablename__ = "instruments"
    __table_args__ = (Unique("venue", "market", "symbol"), Index(None, "coin_id"), AUTOINCREMENT)
    id: Id = _id()
    coin_id: Mapped[int] = _fk("coins.id")
    venue: Mapped[str] = mapped_column(String(20))
    market: Mapped[str] = mapped_column(String(12))
    symbol: Mapped[str] = mapped_column(String(60))
    multiplier: Mapped[Decimal] = mapped_column(default=Decimal(1))
    tick: Mapped[Decimal | None]
    lot: Mapped[Decimal | None]
    min_notional: Mapped[Decimal | None]
    contract_size: Mapped[Decimal] = mapped_column(default=Decimal(1))
    max_leverage: Mapped[Decimal | None]
    tiers: Mapped[list[Any]] = mapped_column(default=list)  # [{notional_cap, rate, deduction, max_leverage}]
    coin: Mapped[Coin] = relationship(back_populates="instruments")


class MarketDataCache(Base):
    """The live tail of the candle store: closed bars that are not yet in a series file."""

    __tablename__ = "market_data_cache"
    venue: Mapped[str] = mapped_column(String(20), primary_key=True)
    market: Mapped[str] = mapped_column(String(12), primary_key=True)
    symbol: Mapped[str] = mapped_column(String(60), primary_key=True)
    interval: Mapped[str] = mapped_column(String(4), primary_key=True)
    time_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    open: Mapped[float]
    high: Mapped[float]
    low: Mapped[float]
    close: Mapped[float]
    volume: Mapped[float]


# -- who trades ---------------------------------------------------------------------------


class Provider(Base):
    """A language model's API. The key is encrypted with a key that lives outside the database."""

    __tablename__ = "providers"
    __table_args__ = (AUTOINCREMENT,)
    id: Id = _id()
    name: Mapped[str] = mapped_column(String(80), unique=True)
    api_url: Mapped[str]
    api_key_encrypted: Mapped[str | None]
    models: Mapped[list[Any]] = mapped_column(default=list)
    created_ms: Mapped[int] = _ms()


class Strategy(Base):
    __tablename__ = "strategies"
    __table_args__ = (AUTOINCREMENT,)
    id: Id = _id()
    name: Mapped[str] = mapped_column(String(120), unique=True)
    description: Mapped[str] = mapped_column(default="")
    rule_set: Mapped[dict[str, Any]]
    is_builtin: Mapped[bool] = mapped_column(default=False)
    edited: Mapped[bool] = mapped_column(default=False)
    created_ms: Mapped[int] = _ms()
    updated_ms: Mapped[int] = _ms()


class Model(Base):
    """An account with its pool and its trader.

    `settled_ms`: every price up to here has been applied to the account. `decided`: the newest candle
    close of each coin, by symbol, that the trader has decided on. `workspace_market`: simulated and real
    money never mix.
    """

    __tablename__ = "models"
    __table_args__ = (
        CheckConstraint("kind in ('rules', 'llm', 'team', 'grid', 'hold')", name="kind"),
        CheckConstraint("status in ('running', 'paused')", name="status"),
        AUTOINCREMENT,
    )
    id: Id = _id()
    name: Mapped[str] = mapped_column(String(120), unique=True)
    kind: Mapped[str] = mapped_column(String(12))
    status: Mapped[str] = mapped_column(String(12), default="running")
    market: Mapped[str] = mapped_column(String(12), default="perp")
    workspace_market: Mapped[str] = mapped_column(String(12))
    initial_capital: Mapped[Decimal]
    interval_seconds: Mapped[int]
    interval: Mapped[str] = mapped_column(String(4))
    leverage: Mapped[float] = mapped_column(default=1.0)
    trade_fee_rate: Mapped[float]
    slippage_bps: Mapped[float] = mapped_column(default=0.0)
    strategy_id: Mapped[int | None] = _fk("strategies.id", ondelete="RESTRICT")
    provider_id: Mapped[int | None] = _fk("providers.id", ondelete="RESTRICT")
    model_name: Mapped[str | None]
    risk: Mapped[dict[str, Any]] = mapped_column(default=dict)
    settled_ms: Mapped[int] = _ms()
    decided: Mapped[dict[str, Any]] = mapped_column(default=dict)
    cycles: Mapped[int] = mapped_column(BigInteger, default=0)
    created_ms: Mapped[int] = _ms()


class ModelCoinPool(Base):
    __tablename__ = "model_coin_pools"
    __table_args__ = (CheckConstraint("weight >= 0", name="weight"), Index(None, "coin_id"))
    model_id: Mapped[int] = _fk("models.id", primary_key=True)
    coin_id: Mapped[int] = _fk("coins.id", primary_key=True, ondelete="RESTRICT")
    is_enabled: Mapped[bool] = mapped_column(default=True)
    weight: Mapped[float] = mapped_column(default=1.0)
    sort_order: Mapped[int] = mapped_column(default=0)
    coin: Mapped[Coin] = relationship()


# -- what happened ------------------------------------------------------------------------


# Most decisions leave everything as it is. Written out, because a partial index serves only its own words.
WANTS_SOMETHING = sql_text("action <> 'HOLD'")


class AiDecision(Base):
    """Every decision, whether or not it was acted on, of every kind of trader."""

    __tablename__ = "ai_decisions"
    __table_args__ = (
        Index(None, "model_id", "timestamp_ms"),
        Index(
            "ix_ai_decisions_wants_something",
            "model_id",
            "timestamp_ms",
            sqlite_where=WANTS_SOMETHING,
            postgresql_where=WANTS_SOMETHING,
        ),
        AUTOINCREMENT,
    )
    id: Id = _id()
    model_id: Mapped[int] = _fk("models.id")
    timestamp_ms: Mapped[int] = _ms()
    coin: Mapped[str] = mapped_column(String(20))
    action: Mapped[str] = mapped_column(String(8))
    leverage: Mapped[float | None]
    position_size_percent: Mapped[float | None]
    confidence: Mapped[float | None]
    stop_loss: Mapped[float | None]
    take_profit: Mapped[float | None]
    reasoning: Mapped[str] = mapped_column(default="")
    executed: Mapped[bool] = mapped_column(default=False)
    verdicts: Mapped[list[Any]] = mapped_column(default=list)
    seen: Mapped[dict[str, Any] | None]
    tokens: Mapped[int | None]
    cost: Mapped[Decimal | None]
    latency_ms: Mapped[int | None]


class Order(Base):
    """Written down as planned before it is sent; see domain.trading.OrderStatus for its life."""

    __tablename__ = "orders"
    __table_args__ = (
        Unique("client_id"),
        Index(None, "model_id", "created_ms"),
        Index(None, "status"),
        Index(None, "decision_id"),
        AUTOINCREMENT,
    )
    id: Id = _id()
    client_id: Mapped[str] = mapped_column(String(32))
    model_id: Mapped[int] = _fk("models.id")
    decision_id: Mapped[int | None] = _fk("ai_decisions.id", ondelete="SET NULL")
    coin: Mapped[str] = mapped_column(String(20))
    kind: Mapped[str] = mapped_column(String(16), default="market")  # market, stop_loss, take_profit, ...
    intent: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str] = mapped_column(default="")
    created_ms: Mapped[int] = _ms()
    updated_ms: Mapped[int] = _ms()


class Fill(Base):
    """One execution; (order, sequence) is unique for ever, so that no fill can be doubled."""

    __tablename__ = "fills"
    __table_args__ = (Unique("order_id", "sequence"), Index(None, "model_id", "timestamp_ms"), AUTOINCREMENT)
    id: Id = _id()
    order_id: Mapped[int] = _fk("orders.id")
    sequence: Mapped[int]
    model_id: Mapped[int] = _fk("models.id")
    coin: Mapped[str] = mapped_column(String(20))
    timestamp_ms: Mapped[int] = _ms()
    signal: Mapped[str] = mapped_column(String(16))
    side: Mapped[str] = mapped_column(String(5))
    opens: Mapped[bool]
    quantity: Mapped[Decimal]
    price: Mapped[Decimal]
    leverage: Mapped[float]
    margin: Mapped[Decimal]
    fee: Mapped[Decimal]
    pnl: Mapped[Decimal | None]
    reason: Mapped[str] = mapped_column(String(16))


class LedgerEntry(Base):
    """One leg of a posting; the legs of one ref sum to zero (see domain.trading.LedgerEntry)."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        Unique("model_id", "ref", "account"),
        Index(None, "model_id", "timestamp_ms"),
        AUTOINCREMENT,
    )
    id: Id = _id()
    model_id: Mapped[int] = _fk("models.id")
    ref: Mapped[str] = mapped_column(String(96))
    timestamp_ms: Mapped[int] = _ms()
    account: Mapped[str] = mapped_column(String(12))
    coin: Mapped[str | None] = mapped_column(String(20))
    amount: Mapped[Decimal]


class Position(Base):
    """Derived from fills and ledger, kept for quick reading; can be recomputed at any time."""

    __tablename__ = "positions"
    __table_args__ = (Unique("model_id", "coin"), AUTOINCREMENT)
    id: Id = _id()
    model_id: Mapped[int] = _fk("models.id")
    coin: Mapped[str] = mapped_column(String(20))
    side: Mapped[str] = mapped_column(String(5))
    quantity: Mapped[Decimal]
    avg_price: Mapped[Decimal]
    margin: Mapped[Decimal]
    entry_fees: Mapped[Decimal]
    funding: Mapped[Decimal]
    stop_loss: Mapped[Decimal | None]
    take_profit: Mapped[Decimal | None]
    trailing_stop_percent: Mapped[float] = mapped_column(default=0.0)
    best_price: Mapped[Decimal | None]
    liquidation_price: Mapped[Decimal | None]
    last_price: Mapped[Decimal | None]
    opened_ms: Mapped[int] = _ms()
    state: Mapped[dict[str, Any]] = mapped_column(default=dict)  # the broker's floats, bit for bit


class Trade(Base):
    """A round trip of an account: one row for each reduction."""

    __tablename__ = "trades"
    __table_args__ = (Index(None, "model_id", "exit_time_ms"), Index(None, "fill_id"), AUTOINCREMENT)
    id: Id = _id()
    model_id: Mapped[int] = _fk("models.id")
    fill_id: Mapped[int] = _fk("fills.id")
    coin: Mapped[str] = mapped_column(String(20))
    side: Mapped[str] = mapped_column(String(5))
    entry_time_ms: Mapped[int] = _ms()
    entry_price: Mapped[Decimal]
    exit_time_ms: Mapped[int] = _ms()
    exit_price: Mapped[Decimal]
    quantity: Mapped[Decimal]
    leverage: Mapped[float]
    fee: Mapped[Decimal]
    funding: Mapped[Decimal]
    pnl: Mapped[Decimal]
    pnl_percent: Mapped[float]
    exit_reason: Mapped[str] = mapped_column(String(16))


class AccountSnapshot(Base):
    __tablename__ = "account_snapshots"
    __table_args__ = (Unique("model_id", "timestamp_ms"), AUTOINCREMENT)
    id: Id = _id()
    model_id: Mapped[int] = _fk("models.id")
    timestamp_ms: Mapped[int] = _ms()
    balance: Mapped[Decimal]
    equity: Mapped[Decimal]
    unrealized_pnl: Mapped[Decimal]
    margin_used: Mapped[Decimal]
    margin_ratio: Mapped[float | None]


class MarketEvent(Base):
    __tablename__ = "market_events"
    __table_args__ = (Index(None, "timestamp_ms"), Index(None, "event_type", "timestamp_ms"), AUTOINCREMENT)
    id: Id = _id()
    timestamp_ms: Mapped[int] = _ms()
    event_type: Mapped[str] = mapped_column(String(24))
    symbol: Mapped[str | None] = mapped_column(String(20))
    model_id: Mapped[int | None] = _fk("models.id")
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)


# -- backtests ----------------------------------------------------------------------------


class Backtest(Base):
    """A run. The equity curve of every bar lies in DATA_DIR/backtests/ID, the thinned one in `report`."""

    __tablename__ = "backtests"
    __table_args__ = (
        CheckConstraint("status in ('queued', 'running', 'done', 'failed', 'cancelled', 'interrupted')", name="status"),
        Index(None, "created_ms"),
        Index(None, "status"),
        AUTOINCREMENT,
    )
    id: Id = _id()
    name: Mapped[str]
    status: Mapped[str] = mapped_column(String(12))
    progress: Mapped[float] = mapped_column(default=0.0)
    request: Mapped[dict[str, Any]]
    report: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    created_ms: Mapped[int] = _ms()
    started_ms: Mapped[int | None] = mapped_column(BigInteger)
    finished_ms: Mapped[int | None] = mapped_column(BigInteger)


class BacktestTrade(Base):
    __tablename__ = "backtest_trades"
    backtest_id: Mapped[int] = _fk("backtests.id", primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    coin: Mapped[str] = mapped_column(String(60))
    side: Mapped[str] = mapped_column(String(5))
    entry_time_ms: Mapped[int] = _ms()
    entry_price: Mapped[float]
    exit_time_ms: Mapped[int] = _ms()
    exit_price: Mapped[float]
    quantity: Mapped[float]
    leverage: Mapped[float]
    fee: Mapped[float]
    funding: Mapped[float]
    pnl: Mapped[float]
    pnl_percent: Mapped[float]
    exit_reason: Mapped[str] = mapped_column(String(16))


# -- sessions -----------------------------------------------------------------------------


# Everything that writes to a PostgreSQL database, migrations included, holds this advisory lock meanwhile.
WRITER_LOCK = 724001
RUNTIME_LOCK = 724002  # of the process that runs the accounts: runtime.lock
WAIT_S = 30


def engine_options(url: str) -> dict[str, Any]:
    """Options for create_engine, for Flask-SQLAlchemy's SQLALCHEMY_ENGINE_OPTIONS."""
    if url.startswith("sqlite"):
        return {
            "pool_size": 16,
            "max_overflow": 112,
            "pool_timeout": WAIT_S,
            "connect_args": {"timeout": WAIT_S, "check_same_thread": False},
        }
    # PostgreSQL takes 100 connections unless told otherwise: two servers and some commands fit.
    options: dict[str, Any] = {"pool_size": 16, "max_overflow": 24, "pool_timeout": WAIT_S, "pool_pre_ping": True}
    if url.startswith("postgresql+psycopg:"):
        options["connect_args"] = connect_args(url)
    return options


def connect_args(url: str | URL) -> dict[str, Any]:
    """What psycopg is told where the address itself does not say otherwise."""
    given = make_url(url).query
    # A server that is off must not hold up a start for minutes. Without an encoding, one without any gives bytes.
    ours = {"connect_timeout": 10, "client_encoding": "utf8", "application_name": "curlew"}
    return {name: value for name, value in ours.items() if name not in given}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # pysqlite opens transactions lazily and in deferred mode, where a read that turns into a write can
    # fail at once with SQLITE_BUSY. We say BEGIN ourselves (see _begin_sqlite).
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=30000", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def prepare_postgresql(connection: Any, _record: Any) -> None:
    """A listener of "connect"."""
    connection.execute(f"SET lock_timeout = '{WAIT_S}s'")  # as long as SQLite's busy_timeout
    connection.commit()


class Database:
    """Short sessions on any thread, with or without a Flask app context.

    `read()` sees one consistent state. `write()` takes the database's write lock at once (SQLite's own; an
    advisory lock on PostgreSQL), so that what it reads holds until it commits, when the block ends; it rolls
    back when the block raises. Writers of this process queue up in order, before they take a connection. Keep
    both short and do no network inside. A `write()` inside a `write()` of the same thread is an error.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._reader = engine
        self._writer = engine.execution_options(immediate=True)
        self._lock_statement = ""
        if engine.dialect.name == "sqlite":
            sa_event.listen(engine, "connect", _prepare_sqlite)
            sa_event.listen(engine, "begin", _begin_sqlite)
        elif engine.dialect.name == "postgresql":
            sa_event.listen(engine, "connect", prepare_postgresql)
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            # Each statement must see what the writer before us has stored, and that is what this level does.
            self._writer = engine.execution_options(isolation_level="READ COMMITTED")
            self._lock_statement = f"SELECT pg_advisory_xact_lock({WRITER_LOCK})"

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self._reader, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        me = threading.get_ident()
        if self._holder == me:
            raise RuntimeError("write() inside write(): pass the session on instead")
        with self._lock:
            self._holder = me
            try:
                with Session(self._writer, expire_on_commit=False) as session, session.begin():
                    connection = session.connection()  # take the write lock before anything is read
                    if self._lock_statement:
                        connection.exec_driver_sql(self._lock_statement)
                    yield session
            finally:
                self._holder = None
