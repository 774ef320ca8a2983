"""Buy and hold: the measure that every other trader is compared with."""

from __future__ import annotations

from domain.trading import Action, Decision, MarketView
from traders.sizing import weight_percent


class HoldTrader:
    """Buys each coin of the pool once, by weight, and never sells.

    A coin that is held is kept. A coin that was bought before and is gone (closed by hand, or
    liquidated) is not bought again where the view says so: `view.extras["bought"]`, the coins that the
    account has ever opened. A view without it can only tell what is held now, and a missing coin is
    bought; taking it out of the pool is then the way to leave it sold.
    """

    def __init__(self, name: str = "hold") -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def warmup(self) -> int:
        return 1

    def decide(self, view: MarketView) -> list[Decision]:
        return [self._decide(coin, view) for coin in view.coins if coin in view.fresh]

    def _decide(self, coin: str, view: MarketView) -> Decision:
        if coin in view.account.positions:
            return Decision(coin, Action.HOLD, reasoning="Held.")
        if coin in view.extras.get("bought", ()):
            return Decision(coin, Action.HOLD, reasoning="Bought before and closed since: not bought twice.")
        percent = weight_percent(coin, view)
        if percent <= 0:
            return Decision(coin, Action.HOLD, reasoning="The coin has no weight in the pool.")
        words = f"Buy and hold: {percent:.4g} % of the equity, its weight in the pool."
        return Decision(coin, Action.LONG, view.leverage, percent, reasoning=words)
