"""The first start of a workspace: three models that trade, so that there is something to see at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from domain.errors import CurlewError

if TYPE_CHECKING:
    from runtime.services import Services

log = structlog.get_logger(__name__)

# Under this key the workspace remembers that it was offered; what was deleted since stays deleted.
OFFERED_KEY = "first_start"
GROUP = "Top10"
STABLECOINS = "Stablecoins"
CAPITAL = 10_000.0


@dataclass(frozen=True, slots=True)
class Example:
    """A model to start with; `strategy` names a built-in one."""

    name: str
    kind: str
    interval: str
    strategy: str | None = None
    risk: tuple[tuple[str, float], ...] = ()


# Ten coins share the capital: three at a time would leave most of it idle.
_WIDE = (("max_open_positions", 10.0),)

# The one that buys at once comes first: it decides in milliseconds, the others load their indicators.
EXAMPLES = (
    Example("Hold", "hold", "1h"),
    Example("Trend", "rules", "5m", "SMA cross 20/60", _WIDE),
    Example("Reversion", "rules", "15m", "Bollinger reversion", _WIDE),
)


def offer_workspace(services: Services) -> list[int]:
    """Makes the example models where nobody has made one yet, once in a workspace's life; returns their ids.

    Where no source of prices answers it waits for a start at which one does.
    """
    if services.workspace.get(OFFERED_KEY) is not None:
        return []
    if all(source.state == "down" for source in services.market.health().values()):
        return []
    made: list[int] = []
    if not services.models.list():
        symbols = _symbols(services)
        strategies = {row.name: row.id for row in services.strategies.list()}
        for example in EXAMPLES:
            try:
                made.append(int(services.models.create(_values(example, symbols, strategies))["id"]))
            except CurlewError as error:
                log.warning("an example model could not be made", name=example.name, error=str(error))
    services.workspace.set(OFFERED_KEY, {"models": made, "at_ms": services.clock.now_ms()})
    return made


def _symbols(services: Services) -> list[str]:
    """The group's active coins; a stablecoin has nothing to gain."""
    groups = {group.name: group for group in services.catalogue.list_groups()}
    stable = {coin.symbol for coin in groups[STABLECOINS].coins} if STABLECOINS in groups else set()
    found = groups[GROUP].coins if GROUP in groups else services.catalogue.list_coins()[:10]
    return [coin.symbol for coin in found if coin.is_active and coin.symbol not in stable]


def _values(example: Example, symbols: list[str], strategies: dict[str, int]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": example.name,
        "kind": example.kind,
        "initial_capital": CAPITAL,
        "interval": example.interval,
        "interval_seconds": 60,
        "coins": symbols,
    }
    if example.strategy is not None:
        values |= {"strategy_id": strategies.get(example.strategy), "risk": dict(example.risk)}
    return values
