"""Models, books and a simulated market in a folder, without an application around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from config import Settings
from data_aggregator import MarketData
from database import Base, Database, engine_options
from domain.events import Event
from runtime.bus import Bus
from runtime.clock import SteppedClock
from runtime.event_log import EventLog
from runtime.models import ModelService
from store.candles import CandleStore
from store.catalogue import Catalogue
from store.events import EventStore
from strategies.store import StrategyStore
from venues.simulated import SimCoin, SimulatedMarket, SimulatedVenue

NOON = 1_704_110_400_000  # 2024-01-01 12:00 UTC
COINS = ("BTC", "ETH", "SOL", "XRP")
SEED = 7

# Long on every bar that closes above its 2-bar average, out on every other: trades as often as bars allow.
BUSY_RULES = {
    "name": "Busy",
    "direction": "both",
    "buy_groups": [{"logic": "AND", "conditions": [
        {"indicator_type": "MA", "signal_type": "above", "params": {"period": 2}}]}],
    "sell_groups": [{"logic": "AND", "conditions": [
        {"indicator_type": "MA", "signal_type": "below", "params": {"period": 2}}]}],
}  # fmt: skip


class Workspace:
    """Opened twice over the same folder it is the same workspace, as after a restart."""

    def __init__(self, folder: Path, now_ms: int = NOON) -> None:
        self.settings = Settings(data_dir=folder, market="simulated")
        folder.mkdir(parents=True, exist_ok=True)
        url = self.settings.sqlalchemy_url
        self.database = Database(create_engine(url, **engine_options(url)))
        Base.metadata.create_all(self.database.engine)
        self.clock = SteppedClock(now_ms)
        self.bus = Bus()
        self.events: list[Event] = []
        self.bus.subscribe("*", self.events.append)
        EventLog(EventStore(self.database), self.bus)
        self.catalogue = Catalogue(self.database)
        self.catalogue.load()
        self.strategies = StrategyStore(self.database)
        market = SimulatedMarket(SEED, [SimCoin(coin, None, rank) for rank, coin in enumerate(COINS, 1)])
        venue = SimulatedVenue(market, self.clock, lambda: COINS)
        self.market = MarketData(
            {"simulated": venue}, CandleStore(folder / "candles", self.database), self.clock,
            workspace_market="simulated",
        )  # fmt: skip
        self.models = ModelService(
            self.database, self.catalogue, self.market, self.strategies, self.clock, self.bus, self.settings
        )

    def close(self) -> None:
        self.database.engine.dispose()

    def busy_strategy(self) -> int:
        found = self.strategies.find("Busy")
        return (found or self.strategies.create(BUSY_RULES, now_ms=self.clock.now_ms())).id

    def hold_model(self, **values: Any) -> int:
        return self._make({"name": "Hold", "kind": "hold", "coins": list(COINS), "interval": "1m", **values})

    def busy_model(self, **values: Any) -> int:
        given = {"name": "Busy", "kind": "rules", "strategy_id": self.busy_strategy(), "coins": list(COINS),
                 "interval": "1m", **values}  # fmt: skip
        return self._make(given)

    def _make(self, values: Mapping[str, Any]) -> int:
        return int(self.models.create(values)["id"])

    def step(self, model_id: int, seconds: float = 0.0) -> Any:
        """Moves the clock on, then one cycle."""
        if seconds:
            self.clock.advance(int(seconds * 1000))
        with self.models.accounts.locked(model_id) as account:
            return account.step()

    def settle(self, model_id: int, seconds: float = 0.0) -> bool:
        """Moves the clock on, then applies the prices."""
        if seconds:
            self.clock.advance(int(seconds * 1000))
        with self.models.accounts.locked(model_id) as account:
            return account.settle()
