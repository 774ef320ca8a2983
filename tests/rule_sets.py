"""Short ways to write rule sets and bars in tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from domain.market import Bars


def condition(indicator: str, signal_type: str, /, **params: Any) -> dict[str, Any]:
    return {"indicator_type": indicator, "signal_type": signal_type, "params": params}


def group(*conditions: dict[str, Any], logic: str = "AND") -> dict[str, Any]:
    return {"logic": logic, "conditions": list(conditions)}


def rule_set(
    buy: list[dict[str, Any]] | None = None, sell: list[dict[str, Any]] | None = None, direction: str = "long"
) -> dict[str, Any]:
    return {"name": "test", "direction": direction, "buy_groups": buy or [], "sell_groups": sell or []}


def bars_of(close: Any, high: Any = None, low: Any = None, volume: Any = None) -> Bars:
    """Hourly bars with these closes; each opens at the close before it."""
    close = np.asarray(close, dtype=np.float64)
    opens = np.concatenate([close[:1], close[:-1]])
    top = np.fmax(opens, close) if high is None else np.asarray(high, dtype=np.float64)
    bottom = np.fmin(opens, close) if low is None else np.asarray(low, dtype=np.float64)
    traded = np.ones(len(close)) if volume is None else np.asarray(volume, dtype=np.float64)
    return Bars(np.arange(len(close), dtype=np.int64) * 3_600_000, opens, top, bottom, close, traded)


def random_bars(count: int, seed: int = 1, start: float = 100.0, tick: float | None = None) -> Bars:
    """A random walk with highs, lows and volumes; rounded to `tick`, so that equal values happen too."""
    rng = np.random.default_rng(seed)
    close = start * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
    high = close * (1 + rng.uniform(0, 0.01, count))
    low = close * (1 - rng.uniform(0, 0.01, count))
    if tick is not None:
        close, high, low = (np.round(column / tick) * tick for column in (close, high, low))
    opens = np.clip(np.concatenate([close[:1], close[:-1]]), low, high)
    return Bars(np.arange(count, dtype=np.int64) * 3_600_000, opens, high, low, close, rng.uniform(1, 100, count))
