"""The composition root: builds every part and hands it its collaborators. No logic.

`create_app` is what gunicorn and the flask command call; it starts no thread. `start_runtime` is
called by the server's worker alone, once it is ready to serve.
"""

from __future__ import annotations

import threading

from flask import Flask
from flask_migrate import Migrate
from sqlalchemy.exc import SQLAlchemyError

from backtesting import Backtester, warm_up
from cli import register_commands
from config import ROOT, Settings, is_command, load_settings
from data_aggregator import MarketData
from database import Database, db, engine_options
from domain.errors import Misconfigured
from domain.ports import Clock, MarketSource
from runtime.backtests import BacktestService
from runtime.bus import Bus
from runtime.clock import SystemClock, open_market_clock
from runtime.event_log import EventLog
from runtime.logs import configure_logging
from runtime.migrate import migrate_safely
from runtime.models import ModelService
from runtime.runner import Runner
from runtime.services import Services
from store.backtests import BacktestStore
from store.candles import CandleStore
from store.catalogue import DATA_FILE, Catalogue
from store.catalogue_load import packaged_coins
from store.events import EventStore
from store.funding import FundingStore
from store.models import ModelStore
from store.secrets import Secrets
from store.series_lookup import SeriesLookup
from store.workspace import Workspace, resolve_market
from strategies.store import StrategyStore
from venues.simulated import SimCoin, SimulatedMarket, SimulatedVenue
from web import register_web
from web.security import check_bind

WARM_UP_DELAY_S = 2.0


def create_app(settings: Settings | None = None) -> Flask:
    """The whole application over one data folder; migrates its database where that is needed."""
    if not is_command():
        return _create_app(settings)
    try:
        return _create_app(settings)
    except Misconfigured as error:
        # Flask would show its user where in our code this was raised.
        raise SystemExit(f"Error: {error}") from error


def _create_app(settings: Settings | None) -> Flask:
    settings = settings or load_settings()
    if not is_command():
        check_bind(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    configure_logging(settings.log_level)
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=settings.sqlalchemy_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(settings.sqlalchemy_url),
    )
    _connect(app)
    Migrate(app, db, directory=str(ROOT / "migrations"), render_as_batch=True)
    with app.app_context():
        database = Database(db.engine)
    migrate_safely(app, settings)
    register_web(app, build_services(settings, database))
    register_commands(app)
    return app


def _connect(app: Flask) -> None:
    try:
        db.init_app(app)
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"DATABASE_URL needs the Python package {error.name}: install it with .venv/bin/pip install {error.name}",
            field="database_url",
        ) from error
    except SQLAlchemyError as error:  # its text does not hold the address, which may hold a password
        raise Misconfigured(f"DATABASE_URL: {error}", field="database_url") from error


def build_services(settings: Settings, database: Database) -> Services:
    """One of each part, wired together; nothing is started."""
    workspace = Workspace(database)
    wall = SystemClock()
    market = resolve_market(settings, workspace, probe=lambda: False)
    catalogue = Catalogue(database)
    catalogue.load(now_ms=wall.now_ms())
    candles = CandleStore(settings.data_dir / "candles", database)
    funding = FundingStore(settings.data_dir / "funding")
    lookup = SeriesLookup(catalogue, candles, funding)
    strategies = StrategyStore(database)
    strategies.seed_builtin(now_ms=wall.now_ms())
    clock: Clock = wall
    sources: dict[str, MarketSource] = {}
    if market == "simulated":
        clock = open_market_clock(workspace, settings.simulated_speed, wall)
        simulated = simulated_venue(settings, workspace, catalogue, clock)
        sources = {simulated.name: simulated}
    bus = Bus()
    EventLog(EventStore(database), bus)
    data = MarketData(
        sources,
        candles,
        clock,
        workspace_market=market,
        lookup=lookup,
        price_ttl_s=settings.cache_price_ttl,
        kline_ttl_s=settings.cache_kline_ttl,
        cache_enabled=settings.cache_enabled,
    )
    backtests = BacktestService(
        BacktestStore(database, settings.data_dir / "backtests"),
        Backtester(candles, funding, lookup, strategies, ModelStore(database)),
        bus,
        wall,
    )
    return Services(
        settings=settings,
        database=database,
        workspace=workspace,
        clock=clock,
        bus=bus,
        candles=candles,
        funding=funding,
        catalogue=catalogue,
        lookup=lookup,
        secrets=Secrets(settings.data_dir),
        market=data,
        strategies=strategies,
        models=ModelService(database, catalogue, data, strategies, clock, bus, settings),
        backtests=backtests,
    )


def simulated_venue(settings: Settings, workspace: Workspace, catalogue: Catalogue, clock: Clock) -> SimulatedVenue:
    """The simulated market of this workspace, listing every coin of the catalogue."""
    # Facts that come with the program: a price must not move because somebody edits a coin.
    coins = [SimCoin(*facts) for facts in packaged_coins(DATA_FILE)]
    market = SimulatedMarket(workspace.seed(settings.simulated_seed), coins)
    return SimulatedVenue(market, clock, lambda: [coin.symbol for coin in catalogue.list_coins(is_active=None)])


def start_runtime(app: Flask) -> None:
    """Starts the scheduler and what else runs beside the requests; for the server's worker only."""
    services: Services = app.extensions["curlew"]
    services.runner = Runner(services)
    services.runner.start()
    # Compiled code is loaded once pages are served: the first backtest should not pay for it.
    thread = threading.Timer(WARM_UP_DELAY_S, warm_up)
    thread.daemon = True
    thread.start()
