"""How much of the equity a pool gives to one coin."""

from __future__ import annotations

from domain.trading import MarketView


def weight_percent(coin: str, view: MarketView) -> float:
    """Margin as a percentage of equity: weight / sum of weights x 100 over the pool.

    Equal shares where the pool has no weights at all; 0 where the coin's own weight is 0.
    """
    if not view.weights:
        return 100.0 / len(view.coins)
    total = sum(view.weights.get(name, 0.0) for name in view.coins)
    return 100.0 * view.weights.get(coin, 0.0) / total if total > 0 else 0.0
