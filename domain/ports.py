"""The seams: Protocols that let a backtest, a paper account and a live account share one engine.

A different mode is a different collaborator; nothing below `app.py` asks which mode it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from domain.events import Event
from domain.market import Bars, FundingRate, Instrument, OrderBook, Quote
from domain.trading import (
    Account,
    ClosedTrade,
    Decision,
    Fill,
    Intent,
    LedgerEntry,
    MarketView,
    Order,
    Position,
    Prices,
    Verdict,
)


class Clock(Protocol):
    """The only source of "now". Thread-safe; never goes back."""

    def now(self) -> datetime:
        """Aware UTC time of the market that this clock belongs to."""
        ...

    def now_ms(self) -> int:
        """The same as int milliseconds UTC."""
        ...


class MarketSource(Protocol):
    """One venue. Thread-safe. Network trouble is `Retryable`, an unknown symbol is `Refused`."""

    @property
    def name(self) -> str: ...

    def instruments(self) -> list[Instrument]: ...

    def quotes(self, instruments: Sequence[Instrument]) -> list[Quote]:
        """Latest quotes with 24 h statistics, in the order asked."""
        ...

    def candles(self, instrument: Instrument, interval: str, start: datetime, end: datetime) -> Bars:
        """Closed bars whose open lies in [start, end), oldest first."""
        ...

    def order_book(self, instrument: Instrument, depth: int) -> OrderBook: ...

    def funding(self, instrument: Instrument, start: datetime, end: datetime) -> list[FundingRate]:
        """Rates due in [start, end), oldest first; empty for spot."""
        ...


class Feed(Protocol):
    """The prices that an engine lives on. Times are int milliseconds of the market's clock."""

    def since(self, coins: Sequence[str], after_ms: int, now_ms: int) -> Iterable[Prices]:
        """The steps that end after `after_ms` and not after `now_ms`, oldest first, each once.

        Over history a step is a candle of the interval. On a live feed it is the latest quote,
        preceded by the 1m candles that were missed when the engine was away.
        """
        ...

    def bars(self, coin: str, interval: str, count: int, now_ms: int) -> Bars:
        """The last `count` candles closed by `now_ms`, oldest first; fewer where fewer exist."""
        ...


class Trader(Protocol):
    """Who decides. Holds no account state; the same view gives the same decisions."""

    @property
    def name(self) -> str: ...

    @property
    def warmup(self) -> int:
        """Closed bars needed for a coin before its first decision can differ from HOLD."""
        ...

    def decide(self, view: MarketView) -> list[Decision]: ...


class RiskRule(Protocol):
    """One limit. Pure. Never refuses a reduction (`intent.action` CLOSE, or the closing half of a reversal)."""

    @property
    def name(self) -> str: ...

    def check(self, intent: Intent, view: MarketView) -> Verdict:
        """`allowed` of a clamp is the value used instead of `asked`; `adjusted` the intent that carries it."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step of a broker changed; a Journal stores all of it or nothing.

    `settled_ms`: every price up to here has been applied; after a restart the broker goes on from there.
    `positions`: new state of each touched coin, None where the position is gone.
    """

    settled_ms: int
    orders: tuple[Order, ...] = ()
    fills: tuple[Fill, ...] = ()
    entries: tuple[LedgerEntry, ...] = ()
    trades: tuple[ClosedTrade, ...] = ()
    positions: tuple[tuple[str, Position | None], ...] = ()


class Journal(Protocol):
    """Where a broker writes down what happened, before anybody is told of it."""

    def record(self, batch: Batch) -> None:
        """Atomic. A fill or ledger ref that is already stored is an error, not a no-op."""
        ...


class Broker(Protocol):
    """One account at one place of execution. Called by one thread at a time."""

    def submit(self, intent: Intent) -> None:
        """Takes the order; it fills at the first price after this. A known client_id is a no-op."""
        ...

    def cancel(self, client_id: str) -> None: ...

    def advance(self, prices: Prices) -> Batch:
        """Applies one step of prices and returns what it changed (already journalled)."""
        ...

    def poll(self) -> None:
        """Asks the venue for news; nothing to do for a simulated account."""
        ...

    def account(self) -> Account: ...

    def fills(self, since_ms: int) -> list[Fill]: ...

    def open_orders(self) -> list[Order]: ...


@dataclass(frozen=True, slots=True)
class Cycle:
    """What an engine remembers of a cycle. All prices up to `settled_ms` are applied, to these positions too.

    `decided`: the newest candle close of each coin that this cycle decided on.
    """

    now_ms: int
    settled_ms: int
    decided: Mapping[str, int]
    positions: Mapping[str, Position]


class Recorder(Protocol):
    """Where an engine writes decisions, verdicts and planned orders."""

    def decided(
        self, rows: Sequence[tuple[Decision, Sequence[Verdict], Intent | None]], cycle: Cycle
    ) -> list[Intent | None]:
        """Stores one cycle (decisions, verdicts, planned orders) atomically; intents come back with decision ids."""
        ...

    def loss_touched(self, account: Account, time_ms: int) -> None:
        """The limit of the day's loss was touched for the first time that day, at a price of `time_ms`."""
        ...


Handler = Callable[[Event], None]


class EventBus(Protocol):
    """In-process fan-out. Handlers run on the publisher's thread, must be quick, and never break it."""

    def publish(self, event: Event) -> None: ...

    def subscribe(self, kind: str, handler: Handler) -> Callable[[], None]:
        """`kind` "*" hears everything. Returns the call that unsubscribes."""
        ...
