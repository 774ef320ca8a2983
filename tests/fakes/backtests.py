"""A backtester over real stores with random walks in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from backtesting import Backtester
from database import Base, Database, engine_options
from domain.market import Bars, SeriesKey
from domain.times import HOUR_MS
from store.candles import CandleStore
from store.catalogue import Catalogue
from store.funding import FundingStore
from store.models import ModelConfig, PoolCoin
from store.series_lookup import SeriesLookup

START_MS = 1_577_836_800_000  # 2020-01-01
PERIODS = {"fast": 5, "slow": 20}
CROSS: dict[str, Any] = {
    "name": "cross",
    "direction": "both",
    "buy_groups": [{"conditions": [{"indicator_type": "MA", "signal_type": "golden_cross", "params": PERIODS}]}],
    "sell_groups": [{"conditions": [{"indicator_type": "MA", "signal_type": "death_cross", "params": PERIODS}]}],
}
ALL_OFF = {
    "max_position_size_percent": 0, "max_leverage": 0, "max_open_positions": 0, "max_gross_exposure_percent": 0,
    "min_confidence": 0, "max_daily_trades": 0, "max_daily_loss_percent": 0, "stop_loss_percent": 0,
    "take_profit_percent": 0,
}  # fmt: skip


def walk(seed: int, rows: int = 3_000, missing: slice | None = None) -> Bars:
    """A random walk of hourly candles, with a hole where `missing` says so."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    open_ = np.concatenate([[100.0], close[:-1]]) * (1 + rng.normal(0, 0.001, rows))
    high = np.maximum(open_, close) * (1 + np.abs(rng.normal(0, 0.004, rows)))
    low = np.minimum(open_, close) * (1 - np.abs(rng.normal(0, 0.004, rows)))
    time = START_MS + np.arange(rows, dtype=np.int64) * HOUR_MS
    kept = np.ones(rows, dtype=bool)
    if missing is not None:
        kept[missing] = False
    return Bars(time[kept], open_[kept], high[kept], low[kept], close[kept], np.ones(int(kept.sum())))


class Models:
    """Answers with the one model that a test is about."""

    def __init__(self) -> None:
        self.model: ModelConfig | None = None

    def get(self, model_id: int) -> ModelConfig:
        assert self.model is not None
        return self.model


class Strategies:
    def load_ruleset(self, strategy_id: int) -> Any:
        from strategies.ruleset import parse_ruleset

        return parse_ruleset(CROSS)


def a_model(kind: str = "rules", risk: dict[str, float] | None = None, leverage: float = 2.0) -> ModelConfig:
    pool = tuple(
        PoolCoin(i, symbol, symbol, True, True, weight, i)
        for i, (symbol, weight) in enumerate([("BTC", 2.0), ("ETH", 1.0), ("SOL", 1.0)], 1)
    )
    return ModelConfig(
        id=1, name="Trend", kind=kind, status="running", market="perp", workspace_market="simulated",
        initial_capital=5_000.0, interval_seconds=3600, interval="1h", leverage=leverage, trade_fee_rate=0.0005,
        slippage_bps=2.0, strategy_id=1 if kind == "rules" else None, provider_id=None, model_name=None,
        risk=ALL_OFF if risk is None else risk, pool=pool, created_ms=START_MS,
    )  # fmt: skip


def make_backtester(folder: Path, models: Models) -> tuple[Backtester, Database]:
    """Candles of BTC, ETH (with a hole) and SOL on binance perp; call `database.engine.dispose()` at the end."""
    url = f"sqlite:///{folder / 'curlew.db'}"
    engine = sa.create_engine(url, **engine_options(url))
    database = Database(engine)
    Base.metadata.create_all(engine)
    candles = CandleStore(folder / "candles", database)
    funding = FundingStore(folder / "funding")
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT", "SOLUSDT")):
        missing = slice(700, 760) if symbol == "ETHUSDT" else None
        candles.merge(SeriesKey("binance", "perp", symbol, "1h"), walk(seed, missing=missing))
    lookup = SeriesLookup(Catalogue(database), candles, funding)
    return Backtester(candles, funding, lookup, Strategies(), models), database  # type: ignore[arg-type]
