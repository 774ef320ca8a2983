"""The accounts that this process runs: built from the store, stepped under a lock each, published on the bus."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from brokers.paper import AccountTerms, InstrumentTerms, PaperBroker, PaperState
from database import Database
from domain.errors import CurlewError, NotFound, Retryable
from domain.events import ACCOUNT_UPDATE, AI_DECISION, MARKET_EVENT, POSITION_UPDATE, TRADE_EXECUTED, Event
from domain.ports import Batch, Clock, EventBus, Trader
from domain.times import DAY_MS, floor_ms
from domain.trading import Account, OrderStatus, Result
from risk import active_limits, build_rules, describe
from runtime.feed import LiveFeed
from runtime.rows import decision_row, position_row, totals, trade_row
from store.ledger import LedgerStore, ModelJournal, StoredAccount
from store.models import ModelConfig, ModelStore
from store.snapshots import SnapshotStore, snapshot_of
from trading_engine import EngineState, Parts, StepResult, Terms, TradingEngine

if TYPE_CHECKING:
    from data_aggregator import MarketData
    from strategies.store import StrategyStore

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What all accounts share."""

    database: Database
    market: MarketData
    strategies: StrategyStore
    clock: Clock
    bus: EventBus
    models: ModelStore
    ledger: LedgerStore
    snapshots: SnapshotStore


class Busy(Retryable):
    """Somebody else is stepping this account."""


class LiveAccount:
    """One account while this process runs it. Every method but `latest` is called under its lock."""

    def __init__(self, desk: Desk, config: ModelConfig, engine: TradingEngine, journal: ModelJournal) -> None:
        self.config = config
        self.engine = engine
        self._desk = desk
        self._journal = journal
        self._decisions, _, self._fills = desk.models.newest_ids(config.id)
        self._checkpoint_ms = engine.state.settled_ms
        self._snapshot_day = engine.state.day_start_ms
        self.latest: Account = engine.parts.broker.account()

    def step(self) -> StepResult:
        """One cycle: see TradingEngine.step."""
        result = self.engine.step()
        self._tell(decided=result.decided, filled=bool(result.fills))
        return result

    def settle(self) -> bool:
        """Applies the latest prices; whether anything was filled."""
        if not self.engine.involved():
            self.latest = self.engine.parts.broker.account()
            return False
        filled = bool(self.engine.settle())
        self._tell(decided=False, filled=filled)
        return filled

    @property
    def is_waiting(self) -> bool:
        """Whether orders wait for a price."""
        return bool(self.engine.parts.broker.open_orders())

    def checkpoint(self) -> None:
        """Writes down how far the prices are applied, so that a restart has less to catch up with."""
        settled = self.engine.state.settled_ms
        if settled <= self._checkpoint_ms or not self.latest.positions:
            return
        positions = tuple(self.engine.parts.broker.account().positions.items())
        self._journal.record(Batch(settled_ms=settled, positions=positions))
        self._checkpoint_ms = settled

    def _tell(self, *, decided: bool, filled: bool) -> None:
        self.latest = self.engine.parts.broker.account()
        if decided:
            self._tell_decisions()
        if filled:
            self._tell_fills()
        self._note_day()
        self.tell_account()

    def tell_account(self) -> None:
        now = self._desk.clock.now_ms()
        data = {"model_id": self.config.id, "timestamp": now, **totals(self.latest)}
        self._desk.bus.publish(Event(ACCOUNT_UPDATE, now, data))

    def _tell_decisions(self) -> None:
        bus = self._desk.bus
        for decision, order_ids in self._desk.models.decisions_after(self.config.id, self._decisions):
            self._decisions = decision.id
            bus.publish(Event(AI_DECISION, decision.timestamp_ms, decision_row(decision, order_ids)))
            for verdict in decision.verdicts:
                if verdict["result"] == Result.REFUSE.value:
                    data = {"event_type": "risk", "symbol": decision.coin, "model_id": self.config.id,
                            "model": self.config.name, "message": verdict["reason"], "rule": verdict["rule"],
                            "asked": verdict["asked"], "allowed": verdict["allowed"]}  # fmt: skip
                    bus.publish(Event(MARKET_EVENT, decision.timestamp_ms, data))

    def _tell_fills(self) -> None:
        bus, model_id = self._desk.bus, self.config.id
        for fill, decision_id in self._desk.models.fills_after(model_id, self._fills):
            self._fills = fill.id
            row = trade_row(fill, decision_id)
            bus.publish(Event(TRADE_EXECUTED, fill.timestamp_ms, row))
            held = self.latest.positions.get(fill.coin)
            position = None if held is None else position_row(held, held.last_price)
            update = {"model_id": model_id, "coin": fill.coin, "position": position}
            bus.publish(Event(POSITION_UPDATE, fill.timestamp_ms, update))
            names = ("signal", "side", "quantity", "price", "pnl", "reason")
            data = {"event_type": "position_change", "symbol": fill.coin, "model_id": model_id,
                    "model": self.config.name, **{name: row[name] for name in names}}  # fmt: skip
            bus.publish(Event(MARKET_EVENT, fill.timestamp_ms, data))

    def _note_day(self) -> None:
        """The equity at 00:00 UTC outlives this process: the daily loss is measured from it."""
        state = self.engine.state
        if state.day_start_ms == self._snapshot_day or state.day_start_account is None:
            return
        self._snapshot_day = state.day_start_ms
        self._desk.snapshots.add([(self.config.id, snapshot_of(state.day_start_account, state.day_start_ms))])


class Accounts:
    """Accounts by model id, built when they are needed and thrown away when anything about them is in doubt.

    One lock for each model: ticker, scheduler and routes never step the same account at once.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._lock = threading.Lock()
        self._locks: dict[int, threading.RLock] = {}
        self._open: dict[int, LiveAccount] = {}

    @contextmanager
    def locked(self, model_id: int, wait_s: float = -1) -> Iterator[LiveAccount]:
        """The account, for this thread alone. After an error it is read back from the store the next time.

        NotFound where there is no such model; Busy where it still is after `wait_s`.
        """
        lock = self._lock_of(model_id)
        if not lock.acquire(timeout=wait_s):
            raise Busy(f"model {model_id} is busy; try again")
        try:
            account = self._open.get(model_id)
            if account is None:
                account = self._open[model_id] = self._build(model_id)
            yield account
        except Retryable:
            raise  # the feed could not answer: what was applied before is applied and stored
        except BaseException:
            self._open.pop(model_id, None)
            raise
        finally:
            lock.release()

    @contextmanager
    def closed(self, model_id: int) -> Iterator[None]:
        """Nobody steps the account in this block, and it is read back from the store after it."""
        lock = self._lock_of(model_id)
        with lock:
            self._leave(model_id)
            try:
                yield
            finally:
                self._open.pop(model_id, None)

    def drop(self, model_id: int) -> None:
        """Its settings have changed, or it is gone."""
        with self._lock_of(model_id):
            self._leave(model_id)

    def drop_all(self, wait_s: float = -1) -> None:
        """Every account; one that is still busy after `wait_s` goes without a last checkpoint."""
        for model_id in list(self._open):
            lock = self._lock_of(model_id)
            if not lock.acquire(timeout=wait_s):
                self._open.pop(model_id, None)
                continue
            try:
                self._leave(model_id)
            finally:
                lock.release()

    def forget_all(self, wait_s: float = -1) -> None:
        """Every account, without a checkpoint: another process may run them now. Steps in progress are awaited."""
        for model_id in list(self._open):
            lock = self._lock_of(model_id)
            is_mine = lock.acquire(timeout=wait_s)
            self._open.pop(model_id, None)
            if is_mine:
                lock.release()

    def peek(self, model_id: int) -> LiveAccount | None:
        """The account if it is built; read only `latest` of it without the lock."""
        return self._open.get(model_id)

    def _leave(self, model_id: int) -> None:
        account = self._open.pop(model_id, None)
        if account is not None:
            try:
                account.checkpoint()
            except CurlewError as error:
                log.warning("account left without a checkpoint", model_id=model_id, error=str(error))

    def _lock_of(self, model_id: int) -> threading.RLock:
        with self._lock:
            return self._locks.setdefault(model_id, threading.RLock())

    def _build(self, model_id: int) -> LiveAccount:
        """Reads the account back and reconciles: the start of the server and recovery are this same code."""
        desk = self.desk
        config = desk.models.get(model_id)
        stored = desk.ledger.load_state(model_id)
        journal = desk.ledger.journal(model_id)
        broker = PaperBroker(account_terms(config, desk.market), journal, paper_state(stored))
        engine = TradingEngine(
            Parts(
                clock=desk.clock,
                feed=LiveFeed(desk.market, config.market),
                trader=build_trader(config, desk.strategies),
                rules=build_rules(config.risk, config.kind, maintenance_rates(config, desk.market)),
                broker=broker,
                recorder=journal,
            ),
            engine_terms(config),
            engine_state(desk, config, stored),
        )
        self._reconcile(config, stored, broker)
        return LiveAccount(desk, config, engine, journal)

    def _reconcile(self, config: ModelConfig, stored: StoredAccount, broker: PaperBroker) -> None:
        """Planned and never sent: sent now if it is still young, else marked expired."""
        now = self.desk.clock.now_ms()
        for order in stored.planned:
            client_id = order.intent.client_id
            if now - order.created_ms < config.interval_ms:
                broker.submit(order.intent)
                log.info("planned order sent after a restart", model_id=config.id, client_id=client_id)
                continue
            reason = "the server stopped before it was sent, and the decision is older than one cycle"
            self.desk.ledger.set_order(client_id, OrderStatus.EXPIRED, reason, now)
            log.warning("planned order expired", model_id=config.id, client_id=client_id)


# -- from a model's settings to the parts of its engine ---------------------------------------


def paper_state(stored: StoredAccount) -> PaperState:
    last_bars = {p.coin: (stored.settled_ms, p.last_price) for p in stored.positions if p.last_price is not None}
    return PaperState(
        settled_ms=stored.settled_ms,
        cash=stored.cash,
        positions=stored.positions,
        orders=stored.waiting,
        last_bars=last_bars,
        total_fees=stored.fees,
        total_funding=stored.funding,
        realized=stored.realized,
        known_ids=frozenset(order.intent.client_id for order in stored.waiting),
    )


def stored_account(stored: StoredAccount) -> Account:
    """As the broker would show it."""
    return Account(
        cash=stored.cash,
        initial_capital=stored.initial_capital,
        positions={position.coin: position for position in stored.positions},
        total_fees=stored.fees,
        realized_pnl=stored.realized - stored.fees + stored.funding,
        total_funding=stored.funding,
    )


def account_terms(config: ModelConfig, market: MarketData) -> AccountTerms:
    coins = tuple(coin.symbol for coin in config.pool)
    instruments = {}
    for coin in coins:
        found = _instrument(market, coin, config.market)
        if found is not None:
            instruments[coin] = found
    return AccountTerms(
        initial_capital=config.initial_capital,
        coins=coins,
        fee_rate=config.trade_fee_rate,
        slippage_bps=config.slippage_bps,
        instruments=instruments,
    )


def _instrument(market: MarketData, coin: str, name: str) -> InstrumentTerms | None:
    try:
        found = market.instrument(coin, name)
    except (NotFound, Retryable):
        return None  # the defaults hold then, as they do for an instrument without tiers
    return None if found is None else InstrumentTerms(found.max_leverage, found.tiers)


def maintenance_rates(config: ModelConfig, market: MarketData) -> dict[str, float]:
    """By coin, at the account's whole capital: the highest rate that a position of it can meet."""
    terms = account_terms(config, market).instruments
    return {coin: found.maintenance_rate(config.initial_capital) for coin, found in terms.items()}


def build_trader(config: ModelConfig, strategies: StrategyStore) -> Trader:
    """Who decides for this model. A kind without a trader yet is refused where models are made."""
    if config.kind == "hold":
        from traders.hold import HoldTrader

        return HoldTrader()
    from strategies.signals import compile_ruleset
    from traders.rules import RulesTrader

    if config.kind != "rules" or config.strategy_id is None:
        raise NotFound(f"model {config.id} of kind {config.kind} has nothing to decide with")
    ruleset = strategies.load_ruleset(config.strategy_id)
    return RulesTrader(ruleset.name, compile_ruleset(ruleset))


def engine_terms(config: ModelConfig) -> Terms:
    enabled = config.enabled
    rules = build_rules(config.risk, config.kind)
    return Terms(
        coins=tuple(coin.symbol for coin in enabled),
        interval=config.interval,
        weights={coin.symbol: coin.weight for coin in enabled},
        leverage=config.leverage,
        limits=describe(rules) if active_limits(config.risk, config.kind) else (),
    )


def engine_state(desk: Desk, config: ModelConfig, stored: StoredAccount) -> EngineState:
    """The day's figures come from the snapshots and the fills of the day that was settled last."""
    settled = stored.settled_ms
    day = floor_ms(settled, DAY_MS)
    start, low = desk.snapshots.day(config.id, day)
    if low is not None:
        # A fill that touched the limit of the day's loss may have been the last thing that was stored.
        low = min(low, stored_account(stored).total_value)
    return EngineState(
        settled_ms=settled,
        decided=dict(stored.decided),
        day_start_ms=day,
        day_start_equity=start,
        day_low_equity=low,
        opens_today=desk.models.opens_since(config.id, day),
        bought=desk.models.coins_opened(config.id),
    )


def revalued(account: Account, prices: dict[str, float | None]) -> Account:
    """The account with its positions at these prices; those without one keep their last."""
    positions = {
        coin: position if prices.get(coin) is None else replace(position, last_price=prices[coin])
        for coin, position in account.positions.items()
    }
    return replace(account, positions=positions)
