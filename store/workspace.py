"""Facts of a workspace that are not settings: its market, its seed, the anchor of its clock.

They are written down at the first start and read by every process from then on. A setting that
says otherwise later is the owner changing their mind, and each is answered as it must be:

- `MARKET=simulated` or `exchanges` other than the stored one changes the workspace's market. Models
  keep the market that they were made on (`models.workspace_market`): those of the other one stay
  visible, and nothing runs them. `MARKET=auto` leaves the stored market as it is.
- `SIMULATED_SEED` is taken at the first simulated start only: another seed would be another past
  under the same accounts.
- `SIMULATED_SPEED` may change at any start; see runtime.clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from config import Settings
from database import Database, WorkspaceValue

log = structlog.get_logger(__name__)

SIMULATED = "simulated"
EXCHANGES = "exchanges"

MARKET_KEY = "market"
SEED_KEY = "simulated_seed"
ANCHOR_KEY = "clock_anchor"
LATEST_KEY = "clock_latest_ms"


class Workspace:
    """JSON values by name in the table `workspace`. Thread-safe; several processes may share it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str, default: Any = None) -> Any:
        with self._database.read() as session:
            found = session.get(WorkspaceValue, key)
            return default if found is None else found.value

    def set(self, key: str, value: Any) -> None:
        """Stores any JSON value under `key` (at most 64 characters)."""
        with self._database.write() as session:
            session.merge(WorkspaceValue(key=key, value=value))

    def set_first(self, key: str, make: Callable[[], Any]) -> Any:
        """The stored value; where there is none, what `make` says, stored by the first process that asks."""
        found = self.get(key)
        if found is not None:
            return found
        made = make()
        with self._database.write() as session:
            stored = session.get(WorkspaceValue, key)
            if stored is None:
                session.add(WorkspaceValue(key=key, value=made))
                return made
            return stored.value

    @property
    def market(self) -> str | None:
        """`simulated` or `exchanges`; None before `resolve_market`."""
        found: str | None = self.get(MARKET_KEY)
        return found

    def seed(self, asked: int) -> int:
        """The seed of this workspace's simulated market: `asked` at the first call, the same ever after."""
        stored = int(self.set_first(SEED_KEY, lambda: asked))
        if stored != asked:
            log.warning("SIMULATED_SEED is ignored: this workspace has one already", asked=asked, used=stored)
        return stored

    # -- the market's clock, for runtime.clock -------------------------------------------

    def clock_anchor(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """{real_ms, market_ms, speed}; `make` gives it at the first start."""
        found: dict[str, Any] = self.set_first(ANCHOR_KEY, make)
        return found

    def move_clock_anchor(self, anchor: dict[str, Any]) -> None:
        self.set(ANCHOR_KEY, anchor)

    @property
    def latest_ms(self) -> int:
        """The latest market time that was written down; 0 before any was."""
        return int(self.get(LATEST_KEY, 0))

    def remember_time(self, market_ms: int) -> None:
        """Writes down how far the market has come, so that no later start begins before it."""
        if market_ms > self.latest_ms:
            self.set(LATEST_KEY, market_ms)


def resolve_market(settings: Settings, workspace: Workspace, probe: Callable[[], bool]) -> str:
    """The market of this workspace, `simulated` or `exchanges`, stored.

    `probe` tells whether any exchange answers (within two seconds); it is asked at the first start of
    MARKET=auto only.
    """
    if settings.market == "auto":
        market: str = workspace.set_first(MARKET_KEY, lambda: EXCHANGES if probe() else SIMULATED)
        return market
    before = workspace.market
    if before != settings.market:
        workspace.set(MARKET_KEY, settings.market)
        if before is not None:
            log.warning("the workspace's market was changed by its owner", before=before, now=settings.market)
    return settings.market
