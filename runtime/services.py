"""What the web and the command line work with: the parts that `app.create_app` built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app

if TYPE_CHECKING:
    from config import Settings
    from data_aggregator import MarketData
    from database import Database
    from domain.ports import Clock, EventBus
    from runtime.backtests import BacktestService
    from runtime.models import ModelService
    from runtime.runner import Runner
    from store.candles import CandleStore
    from store.catalogue import Catalogue
    from store.funding import FundingStore
    from store.secrets import Secrets
    from store.series_lookup import SeriesLookup
    from store.workspace import Workspace
    from strategies.store import StrategyStore


@dataclass(slots=True)
class Services:
    """One of each. `runner` is None until the server's process has started its scheduler."""

    settings: Settings
    database: Database
    workspace: Workspace
    clock: Clock
    bus: EventBus
    candles: CandleStore
    funding: FundingStore
    catalogue: Catalogue
    lookup: SeriesLookup
    secrets: Secrets
    market: MarketData
    strategies: StrategyStore
    models: ModelService
    backtests: BacktestService
    runner: Runner | None = None


def services() -> Services:
    """Of the current Flask app."""
    found: Services = current_app.extensions["curlew"]
    return found
