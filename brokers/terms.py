"""What an account trades on, what a paper account is at one moment, and a journal in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from brokers.accounting import NAN, default_maintenance_rate
from domain.errors import Conflict
from domain.market import MaintenanceTier
from domain.ports import Batch
from domain.trading import ClosedTrade, Fill, LedgerEntry, Order, Position


@dataclass(frozen=True, slots=True)
class InstrumentTerms:
    """What liquidation needs to know of one coin's instrument; what is not known is left out.

    The maintenance rate is `mmr` where given, else by `tiers`, else 1 / (2 x max_leverage), else 1 %.
    """

    max_leverage: float | None = None
    tiers: tuple[MaintenanceTier, ...] = ()
    mmr: float | None = None

    def maintenance_rate(self, notional: float) -> float:
        """Rate for a position of this entry notional, the tier's deduction included."""
        if self.mmr is not None:
            return self.mmr
        if not self.tiers or not notional > 0:
            return default_maintenance_rate(NAN if self.max_leverage is None else self.max_leverage)
        tier = next((tier for tier in self.tiers if notional <= tier.notional_cap), self.tiers[-1])
        return tier.rate - tier.deduction / notional


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """Capital, costs and pool of an account. `coins` in the order in which openings are sized.

    `maker_fee_rate` is for limit fills; None: as `fee_rate`.
    """

    initial_capital: float
    coins: tuple[str, ...]
    fee_rate: float = 0.001
    slippage_bps: float = 0.0
    maker_fee_rate: float | None = None
    instruments: Mapping[str, InstrumentTerms] = field(default_factory=dict)

    @property
    def slippage_rate(self) -> float:
        return self.slippage_bps / 10_000.0


@dataclass(frozen=True, slots=True)
class PaperState:
    """A paper account as of `settled_ms`: a PaperBroker built from it goes on exactly as the one that gave it.

    `orders`: those still waiting, in the order of their submission. `last_bars`: time and open of each
    held coin's last bar. `realized`: price profit alone, fees and funding apart (as received).
    `known_ids`: client ids of every order ever taken; a second submit of one of them is a no-op.
    """

    settled_ms: int
    cash: float
    positions: tuple[Position, ...] = ()
    orders: tuple[Order, ...] = ()
    last_bars: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    total_fees: float = 0.0
    total_funding: float = 0.0
    realized: float = 0.0
    known_ids: frozenset[str] = frozenset()


class MemoryJournal:
    """A Journal for backtests and tests: everything in lists, uniqueness checked as a store would.

    `orders` holds the latest state of each order by client id; the legs of the ledger are
    kept only where `keep_entries` says so.
    """

    def __init__(self, keep_entries: bool = False) -> None:
        self.keep_entries = keep_entries
        self.orders: dict[str, Order] = {}
        self.fills: list[Fill] = []
        self.trades: list[ClosedTrade] = []
        self.entries: list[LedgerEntry] = []
        self.positions: dict[str, Position] = {}
        self.settled_ms = 0
        self._fills: set[tuple[str, int]] = set()
        self._refs: set[tuple[str, str]] = set()

    def record(self, batch: Batch) -> None:
        """Stores the batch; Conflict where a fill or a leg of the same cause is there already."""
        fills = {(fill.client_id, fill.sequence) for fill in batch.fills}
        refs = {(entry.ref, entry.account) for entry in batch.entries}
        if len(fills) < len(batch.fills) or fills & self._fills:
            raise Conflict("a fill was recorded twice")
        if len(refs) < len(batch.entries) or refs & self._refs:
            raise Conflict("a ledger posting was recorded twice")
        self._fills |= fills
        self._refs |= refs
        self.orders.update((order.intent.client_id, order) for order in batch.orders)
        self.fills += batch.fills
        self.trades += batch.trades
        if self.keep_entries:
            self.entries += batch.entries
        for coin, position in batch.positions:
            if position is None:
                self.positions.pop(coin, None)
            else:
                self.positions[coin] = position
        self.settled_ms = batch.settled_ms
