"""ModelService: models, their pools and their accounts, for routes, pages and commands."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from config import Settings
from database import Database
from domain.errors import Conflict, InvalidValue, NotFound, Retryable
from domain.events import MODEL_CHANGED, Event
from domain.ports import Clock, EventBus
from domain.trading import Account
from runtime.accounts import Accounts, Desk, revalued, stored_account
from runtime.lock import RuntimeLock
from runtime.model_values import changed_values, check_number, new_values
from runtime.rows import (
    decision_row,
    equity_row,
    model_row,
    order_row,
    pool_row,
    portfolio,
    totals,
    trade_row,
)
from runtime.standings import Standings
from runtime.ticker import Watch
from store.audit import recompute
from store.ledger import LedgerStore
from store.models import ModelConfig, ModelStore, Page
from store.snapshots import SnapshotStore, snapshot_of

if TYPE_CHECKING:
    from data_aggregator import MarketData
    from store.catalogue import Catalogue
    from strategies.store import StrategyStore

Rows = list[dict[str, Any]]
Differences = list[str]

# How long `execute` waits for the fills of its orders, and how often it looks (real seconds).
FILL_WAIT_S = 2.0
FILL_LOOK_S = 0.1
EQUITY_POINTS = 1_000


class ModelService:
    """Thread-safe. Values come in as the contract's fields and go out as its rows.

    A coin that is taken out of a pool, or disabled, while a position in it is open: the position
    stays managed. Its stops and targets are kept and it may be closed; nothing new is opened in it.
    """

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        market: MarketData,
        strategies: StrategyStore,
        clock: Clock,
        bus: EventBus,
        settings: Settings,
    ) -> None:
        self.models = ModelStore(database)
        self.snapshots = SnapshotStore(database)
        self.lock = RuntimeLock(database.engine.url)
        self._database = database
        self._catalogue = catalogue
        self._market = market
        self._strategies = strategies
        self._clock = clock
        self._bus = bus
        self._fee_rate = settings.default_trade_fee_rate
        self._ledger = LedgerStore(database)
        self._standings = Standings(self.snapshots)
        self.watch = Watch()
        self.accounts = Accounts(
            Desk(database, market, strategies, clock, bus, self.models, self._ledger, self.snapshots)
        )

    # -- models -----------------------------------------------------------------------

    def list(self) -> Rows:
        return [model_row(config) for config in self.models.load_all()]

    def get(self, model_id: int) -> dict[str, Any]:
        config = self.models.get(model_id)
        return {**model_row(config), **self.models.facts(model_id), "pool": [pool_row(c) for c in config.pool]}

    def create(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """InvalidValue names the field, Conflict a name that is taken."""
        columns = new_values(values, self._fee_rate, self._strategies)
        coin_ids = [self._coin_id(symbol, f"coins.{i}") for i, symbol in enumerate(values.get("coins") or ())]
        if len(set(coin_ids)) < len(coin_ids):
            raise InvalidValue("a coin is named twice", field="coins")
        now = self._clock.now_ms()
        columns["workspace_market"] = self._market.workspace_market
        config = self.models.create(columns, coin_ids, now)
        capital = config.initial_capital
        self.snapshots.add([(config.id, snapshot_of(Account(capital, capital, {}), now))])
        self._changed(config.id, "created")
        return self.get(config.id)

    def update(self, model_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """Sets the fields named. A new initial_capital is a Conflict once the account has traded."""
        old = self.models.get(model_id)
        columns = changed_values(values, model_row(old), self._strategies)
        now = self._clock.now_ms()
        moves_capital = columns.get("initial_capital", Decimal(repr(old.initial_capital))) != Decimal(
            repr(old.initial_capital)
        )
        if not moves_capital:
            columns.pop("initial_capital", None)
        with self.accounts.closed(model_id):
            config = self.models.update(model_id, columns, now)
            if moves_capital:
                # The curve begins anew with the account.
                capital = config.initial_capital
                self.snapshots.clear(model_id)
                self.snapshots.add([(model_id, snapshot_of(Account(capital, capital, {}), now))])
                self._standings.forget(model_id)
        self._changed(model_id, "updated")
        return self.get(model_id)

    def delete(self, model_id: int) -> None:
        """The model, its account and everything that it did."""
        with self.accounts.closed(model_id):
            self.models.delete(model_id)
        self._standings.forget(model_id)
        self._changed(model_id, "deleted")

    def _changed(self, model_id: int, change: str) -> None:
        data = {"model_id": model_id, "change": change}
        self._bus.publish(Event(MODEL_CHANGED, self._clock.now_ms(), data))

    # -- pools ------------------------------------------------------------------------

    def pool(self, model_id: int) -> Rows:
        return [pool_row(coin) for coin in self.models.get(model_id).pool]

    def add_coin(self, model_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values`: id or symbol of the coin, weight (1), is_enabled (true). Conflict where it is in the pool."""
        coin_id = self._named_coin(values)
        weight = check_number("weight", values.get("weight", 1.0))
        if not self.models.add_coins(model_id, [coin_id], weight):
            raise Conflict("the coin is in the pool already; change its row instead", field="id")
        if not values.get("is_enabled", True):
            self.models.update_coin(model_id, coin_id, {"is_enabled": False})
        self._pool_changed(model_id)
        return self._pool_row(model_id, coin_id)

    def update_coin(self, model_id: int, coin_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values`: weight, is_enabled, sort_order."""
        known = {name: values[name] for name in ("weight", "is_enabled", "sort_order") if name in values}
        if "weight" in known:
            known["weight"] = float(check_number("weight", known["weight"]))
        self.models.update_coin(model_id, coin_id, known)
        self._pool_changed(model_id)
        return self._pool_row(model_id, coin_id)

    def remove_coin(self, model_id: int, coin_id: int) -> None:
        self.models.remove_coin(model_id, coin_id)
        self._pool_changed(model_id)

    def add_group(self, model_id: int, group_id: int) -> dict[str, int]:
        """Adds the active coins of a group that are not in the pool yet: {added, already}."""
        group = self._catalogue.get_group(group_id)
        coin_ids = [coin.id for coin in group.coins if coin.is_active]
        added = self.models.add_coins(model_id, coin_ids)
        if added:
            self._pool_changed(model_id)
        return {"added": len(added), "already": len(coin_ids) - len(added)}

    def _pool_changed(self, model_id: int) -> None:
        self.accounts.drop(model_id)
        self._changed(model_id, "pool")

    def _pool_row(self, model_id: int, coin_id: int) -> dict[str, Any]:
        return next(row for row in self.pool(model_id) if row["id"] == coin_id)

    def _named_coin(self, values: Mapping[str, Any]) -> int:
        if values.get("symbol") is not None:
            return self._coin_id(str(values["symbol"]), "symbol")
        if values.get("id") is None:
            raise InvalidValue("name the coin by its id or its symbol", field="id")
        try:
            coin = self._catalogue.get(int(values["id"]))
        except NotFound as error:
            raise InvalidValue(str(error), field="id") from error
        return self._coin_id(coin.symbol, "id")

    def _coin_id(self, symbol: str, field: str) -> int:
        try:
            coin = self._catalogue.parse_coin(symbol)
        except NotFound as error:
            raise InvalidValue(str(error), field=field) from error
        if not coin.is_active:
            raise InvalidValue(f"{coin.symbol} is inactive: reactivate it on the Coins page first", field=field)
        return coin.id

    # -- what it holds and did --------------------------------------------------------

    def portfolio(self, model_id: int) -> dict[str, Any]:
        """At live prices; a position whose price no source knows now keeps its last, and says null."""
        config = self.models.get(model_id)
        account = self._account(model_id)
        prices = self._prices(config, account)
        return portfolio(model_id, revalued(account, prices), prices, self._clock.now_ms())

    def _account(self, model_id: int) -> Account:
        live = self.accounts.peek(model_id)
        return live.latest if live is not None else stored_account(self._ledger.load_state(model_id))

    def _prices(self, config: ModelConfig, account: Account) -> dict[str, float | None]:
        """Of this workspace's market only: an account of another one keeps its last prices."""
        unknown: dict[str, float | None] = dict.fromkeys(account.positions)
        if not unknown or config.workspace_market != self._market.workspace_market:
            return unknown
        try:
            quotes = self._market.quotes(list(unknown), market=config.market)
        except (Retryable, NotFound):
            return unknown
        fresh = {coin: quote.price for coin, quote in quotes.items() if not self._market.freshness(quote).stale}
        return {**unknown, **fresh}

    def trades(self, model_id: int, limit: int = 50, before: int | None = None, coin: str | None = None) -> Rows:
        """Executions, newest first. `before`: ms, of earlier ones only."""
        self.models.get(model_id)
        return [trade_row(*row) for row in self.models.fills(model_id, Page(limit, before, self._symbol(coin)))]

    def decisions(self, model_id: int, limit: int = 50, before: int | None = None, coin: str | None = None) -> Rows:
        """Newest first, with their verdicts and the ids of their orders."""
        self.models.get(model_id)
        return [decision_row(*row) for row in self.models.decisions(model_id, Page(limit, before, self._symbol(coin)))]

    def latest_decisions(self, model_id: int, limit: int, *, is_without_hold: bool) -> Rows:
        """As `decisions`, of all coins; `is_without_hold`: only those that wanted something."""
        page = Page(limit, is_without_hold=is_without_hold)
        return [decision_row(*row) for row in self.models.decisions(model_id, page)]

    def equity(
        self, model_id: int, limit: int = EQUITY_POINTS, before: int | None = None, start: int | None = None
    ) -> Rows:
        """Snapshots, oldest first; the newest `limit` of the span."""
        self.models.get(model_id)
        return [equity_row(snapshot) for snapshot in self.snapshots.series(model_id, limit, start, before)]

    def _symbol(self, coin: str | None) -> str | None:
        if coin is None:
            return None
        try:
            return self._catalogue.parse_coin(coin).symbol
        except NotFound:
            return coin

    def leaderboard(self) -> Rows:
        """All models by return, best first."""
        rows = []
        for config in self.models.load_all():
            account = self._account(config.id)
            sums = totals(revalued(account, self._prices(config, account)))
            drawdown, sharpe = self._standings.of(config.id, config.initial_capital, sums["total_value"])
            trades, llm_cost = self.models.trade_count_and_cost(config.id)
            rows.append({
                "model_id": config.id,
                "name": config.name,
                "kind": config.kind,
                "total_value": sums["total_value"],
                "return_percentage": sums["return_percentage"],
                "max_drawdown": drawdown,
                "sharpe": sharpe,
                "trades": trades,
                "fees": sums["total_fees"],
                "llm_cost": llm_cost,
            })  # fmt: skip
        return sorted(rows, key=lambda row: -row["return_percentage"])

    def check(self, model_id: int) -> Differences:
        """Differences between what is stored and what follows from fills and ledger; empty: none."""
        config = self.models.get(model_id)
        return recompute(self._database, model_id, self._clock.now_ms() - 2 * config.interval_ms)

    # -- one cycle now ----------------------------------------------------------------

    def execute(self, model_id: int) -> dict[str, Any]:
        """One cycle, of a paused model too; its fills are awaited up to two seconds.

        A rules or hold model decides once for each closed bar: where it has decided on the newest one
        already, nothing is decided again. Conflict where another process runs the accounts of this database.
        """
        config = self.models.get(model_id)
        if config.workspace_market != self._market.workspace_market:
            raise Conflict(f"the model trades on the {config.workspace_market} market, which this workspace has left")
        with self._owning():
            decision_id, order_id, fill_id = self.models.newest_ids(model_id)
            with self.accounts.locked(model_id) as account:
                account.step()
                waiting = account.is_waiting
            deadline = time.monotonic() + FILL_WAIT_S
            while waiting and time.monotonic() < deadline:
                time.sleep(FILL_LOOK_S)
                # Where no source answers now, the orders wait on: they are stored.
                with suppress(Retryable), self.accounts.locked(model_id) as account:
                    account.settle()
                    waiting = account.is_waiting
        self.models.add_cycles({model_id: 1})
        decisions = self.models.decisions_after(model_id, decision_id)
        return {
            "decisions": [decision_row(*row) for row in decisions],
            "verdicts": [
                {"decision_id": decision.id, "symbol": decision.coin, **verdict}
                for decision, _ in decisions
                for verdict in decision.verdicts
            ],
            "orders": [order_row(order) for order in self.models.orders_after(model_id, order_id)],
            "fills": [trade_row(*row) for row in self.models.fills_after(model_id, fill_id)],
        }

    @contextmanager
    def _owning(self) -> Iterator[None]:
        """This process runs the accounts: for good where its scheduler does, else for this block."""
        if not self.lock.acquire():
            raise Conflict("another server runs the accounts of this database: ask it there")
        try:
            yield
        finally:
            self.lock.release(self.accounts.drop_all)
