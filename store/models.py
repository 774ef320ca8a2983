"""Models, their pools, and what they did, as rows. Rules about what is allowed live in runtime.models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import WANTS_SOMETHING, AiDecision, Coin, Database, Model, ModelCoinPool, Strategy
from database import Fill as FillRow
from database import LedgerEntry as EntryRow
from database import Order as OrderRow
from database import Trade as TradeRow
from domain.errors import Conflict, NotFound
from store.ledger import LedgerStore

# Rows removed in one write transaction; SQLite takes 999 variables in a statement in its older builds.
PRUNED_ROWS = 500


@dataclass(frozen=True, slots=True)
class PoolCoin:
    """A coin of a model's pool; `coin_id` is the coin's."""

    coin_id: int
    symbol: str
    name: str
    is_active: bool
    is_enabled: bool
    weight: float
    sort_order: int


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything about a model that its owner set; equal configs trade the same.

    `strategy_updated_ms` makes a model follow an edited strategy. Money in float dollars.
    """

    id: int
    name: str
    kind: str
    status: str
    market: str
    workspace_market: str
    initial_capital: float
    interval_seconds: int
    interval: str
    leverage: float
    trade_fee_rate: float
    slippage_bps: float
    strategy_id: int | None
    provider_id: int | None
    model_name: str | None
    risk: Mapping[str, Any]
    pool: tuple[PoolCoin, ...]
    created_ms: int
    strategy_updated_ms: int | None = None

    @property
    def is_running(self) -> bool:
        return self.status == "running"

    @property
    def interval_ms(self) -> int:
        return self.interval_seconds * 1000

    @property
    def enabled(self) -> tuple[PoolCoin, ...]:
        return tuple(coin for coin in self.pool if coin.is_enabled)


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows of a log: newest first, before a time, of one coin; of decisions, those that are not HOLD."""

    limit: int = 50
    before_ms: int | None = None
    coin: str | None = None
    is_without_hold: bool = False


class ModelStore:
    """Rows of models and pools. Thread-safe; NotFound for unknown ids, Conflict for a name that is taken."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- models -----------------------------------------------------------------------

    def load_all(self) -> tuple[ModelConfig, ...]:
        """All models by id."""
        with self._database.read() as session:
            return _configs(session, select(Model).order_by(Model.id))

    def get(self, model_id: int) -> ModelConfig:
        with self._database.read() as session:
            return _config(session, model_id)

    def create(self, values: Mapping[str, Any], coin_ids: Iterable[int], now_ms: int) -> ModelConfig:
        """The model, its pool in the order given and the deposit of its capital, in one transaction."""
        try:
            with self._database.write() as session:
                model = Model(**values, settled_ms=now_ms, cycles=0, created_ms=now_ms)
                session.add(model)
                session.flush()
                for order, coin_id in enumerate(coin_ids):
                    session.add(ModelCoinPool(model_id=model.id, coin_id=coin_id, sort_order=order))
                session.flush()
                LedgerStore.deposit(session, model.id, model.initial_capital, now_ms)
                return _config(session, model.id)
        except IntegrityError as error:
            raise _taken(values) from error

    def update(self, model_id: int, values: Mapping[str, Any], capital_ms: int | None = None) -> ModelConfig:
        """Sets the named columns. A new initial_capital replaces the deposit: only before the first fill."""
        try:
            with self._database.write() as session:
                _find(session, model_id)
                if "initial_capital" in values:
                    _redeposit(session, model_id, values["initial_capital"], capital_ms or 0)
                if values:
                    session.execute(update(Model).where(Model.id == model_id).values(dict(values)))
                session.expire_all()
                return _config(session, model_id)
        except IntegrityError as error:
            raise _taken(values) from error

    def delete(self, model_id: int) -> None:
        """The model and everything it did."""
        with self._database.write() as session:
            _find(session, model_id)
            session.execute(delete(Model).where(Model.id == model_id))

    def add_cycles(self, counts: Mapping[int, int]) -> None:
        """Cycles that only settled are counted, not stored."""
        if not counts:
            return
        with self._database.write() as session:
            for model_id, count in counts.items():
                session.execute(update(Model).where(Model.id == model_id).values(cycles=Model.cycles + count))

    def facts(self, model_id: int) -> dict[str, int]:
        """What the model has come to: cycles, settled_ms, and decided_ms of the coin decided on last."""
        with self._database.read() as session:
            model = _find(session, model_id)
            decided_ms = max(model.decided.values(), default=0)
            return {"cycles": model.cycles, "settled_ms": model.settled_ms, "decided_ms": decided_ms}

    # -- pools ------------------------------------------------------------------------

    def add_coins(self, model_id: int, coin_ids: Sequence[int], weight: float = 1.0) -> list[int]:
        """Those that were not in the pool yet, at its end; returns the ids added."""
        with self._database.write() as session:
            _find(session, model_id)
            there = {row.coin_id: row.sort_order for row in _pool_rows(session, [model_id])}
            order = max(there.values(), default=-1)
            added = [coin_id for coin_id in dict.fromkeys(coin_ids) if coin_id not in there]
            for coin_id in added:
                order += 1
                session.add(ModelCoinPool(model_id=model_id, coin_id=coin_id, weight=weight, sort_order=order))
            return added

    def update_coin(self, model_id: int, coin_id: int, values: Mapping[str, Any]) -> None:
        with self._database.write() as session:
            row = _find_pool_row(session, model_id, coin_id)
            for name, value in values.items():
                setattr(row, name, value)

    def remove_coin(self, model_id: int, coin_id: int) -> None:
        with self._database.write() as session:
            session.delete(_find_pool_row(session, model_id, coin_id))

    # -- what it did ------------------------------------------------------------------

    def fills(self, model_id: int, page: Page) -> list[tuple[FillRow, int | None]]:
        """Executions with the decision that each goes back to, newest first."""
        query = select(FillRow, OrderRow.decision_id).join(OrderRow, FillRow.order_id == OrderRow.id)
        query = _paged(query.where(FillRow.model_id == model_id), FillRow, page)
        with self._database.read() as session:
            return [(fill, decision_id) for fill, decision_id in session.execute(query)]

    def fills_after(self, model_id: int, fill_id: int) -> list[tuple[FillRow, int | None]]:
        """Those stored after `fill_id`, oldest first."""
        query = select(FillRow, OrderRow.decision_id).join(OrderRow, FillRow.order_id == OrderRow.id)
        query = query.where(FillRow.model_id == model_id, FillRow.id > fill_id).order_by(FillRow.id)
        with self._database.read() as session:
            return [(fill, decision_id) for fill, decision_id in session.execute(query)]

    def decisions(self, model_id: int, page: Page) -> list[tuple[AiDecision, list[int]]]:
        """Decisions with the ids of their orders, newest first."""
        query = _paged(select(AiDecision).where(AiDecision.model_id == model_id), AiDecision, page)
        if page.is_without_hold:
            query = query.where(WANTS_SOMETHING)
        with self._database.read() as session:
            return _with_orders(session, query)

    def decisions_after(self, model_id: int, decision_id: int) -> list[tuple[AiDecision, list[int]]]:
        """Those stored after `decision_id`, oldest first."""
        query = select(AiDecision).where(AiDecision.model_id == model_id, AiDecision.id > decision_id)
        with self._database.read() as session:
            return _with_orders(session, query.order_by(AiDecision.id))

    def orders_after(self, model_id: int, order_id: int) -> list[OrderRow]:
        query = select(OrderRow).where(OrderRow.model_id == model_id, OrderRow.id > order_id).order_by(OrderRow.id)
        with self._database.read() as session:
            return list(session.scalars(query))

    def newest_ids(self, model_id: int) -> tuple[int, int, int]:
        """Highest ids of decisions, orders and fills; 0 where there is none."""
        with self._database.read() as session:
            found = [
                session.scalar(select(func.max(table.id)).where(table.model_id == model_id)) or 0
                for table in (AiDecision, OrderRow, FillRow)
            ]
        return found[0], found[1], found[2]

    def opens_since(self, model_id: int, since_ms: int) -> int:
        query = select(func.count()).where(
            FillRow.model_id == model_id, FillRow.opens.is_(True), FillRow.timestamp_ms >= since_ms
        )
        with self._database.read() as session:
            return session.scalar(query) or 0

    def coins_opened(self, model_id: int) -> set[str]:
        """Coins that the account has ever bought or sold short."""
        query = select(FillRow.coin).where(FillRow.model_id == model_id, FillRow.opens.is_(True)).distinct()
        with self._database.read() as session:
            return set(session.scalars(query))

    def trade_count_and_cost(self, model_id: int) -> tuple[int, float]:
        """Closed trades, and what its language model has cost so far."""
        trades = select(func.count()).where(TradeRow.model_id == model_id)
        costs = select(AiDecision.cost).where(AiDecision.model_id == model_id, AiDecision.cost.is_not(None))
        with self._database.read() as session:
            return session.scalar(trades) or 0, float(sum(session.scalars(costs)))

    def prune_decisions(self, before_ms: int) -> int:
        """Removes decisions older than `before_ms` that led to no order; returns how many.

        By model, which the index begins with, and a piece at a time: nobody waits for the whole of it.
        """
        is_ordered = select(OrderRow.id).where(OrderRow.decision_id == AiDecision.id).exists()
        with self._database.read() as session:
            model_ids = session.scalars(select(Model.id)).all()
        gone = 0
        for model_id in model_ids:
            old = (
                select(AiDecision.id)
                .where(AiDecision.model_id == model_id, AiDecision.timestamp_ms < before_ms, ~is_ordered)
                .limit(PRUNED_ROWS)
            )
            count = PRUNED_ROWS
            while count == PRUNED_ROWS:
                with self._database.write() as session:
                    ids = session.scalars(old).all()
                    session.execute(delete(AiDecision).where(AiDecision.id.in_(ids)))
                count = len(ids)
                gone += count
        return gone


# -- helpers ------------------------------------------------------------------------------


def _taken(values: Mapping[str, Any]) -> Conflict:
    return Conflict(f"a model named '{values.get('name')}' is there already; choose another name", field="name")


def _find(session: Session, model_id: int) -> Model:
    model = session.get(Model, model_id)
    if model is None:
        raise NotFound(f"there is no model {model_id}")
    return model


def _find_pool_row(session: Session, model_id: int, coin_id: int) -> ModelCoinPool:
    _find(session, model_id)
    row = session.get(ModelCoinPool, (model_id, coin_id))
    if row is None:
        raise NotFound(f"coin {coin_id} is not in the pool of model {model_id}")
    return row


def _redeposit(session: Session, model_id: int, amount: Decimal, now_ms: int) -> None:
    if session.scalar(select(FillRow.id).where(FillRow.model_id == model_id).limit(1)) is not None:
        message = "the capital is fixed once the account has traded; make another model to start with another one"
        raise Conflict(message, field="initial_capital")
    session.execute(delete(EntryRow).where(EntryRow.model_id == model_id))
    LedgerStore.deposit(session, model_id, amount, now_ms)


def _pool_rows(session: Session, model_ids: Sequence[int]) -> Sequence[ModelCoinPool]:
    query = select(ModelCoinPool).where(ModelCoinPool.model_id.in_(model_ids))
    return session.scalars(query.order_by(ModelCoinPool.sort_order, ModelCoinPool.coin_id)).all()


def _config(session: Session, model_id: int) -> ModelConfig:
    found = _configs(session, select(Model).where(Model.id == model_id))
    if not found:
        raise NotFound(f"there is no model {model_id}")
    return found[0]


def _configs(session: Session, query: Any) -> tuple[ModelConfig, ...]:
    models = session.scalars(query).all()
    ids = [model.id for model in models]
    pools: dict[int, list[PoolCoin]] = {model_id: [] for model_id in ids}
    rows = session.execute(
        select(ModelCoinPool, Coin)
        .join(Coin, ModelCoinPool.coin_id == Coin.id)
        .where(ModelCoinPool.model_id.in_(ids))
        .order_by(ModelCoinPool.sort_order, ModelCoinPool.coin_id)
    )
    for row, coin in rows:
        pools[row.model_id].append(
            PoolCoin(coin.id, coin.symbol, coin.name, coin.is_active, row.is_enabled, row.weight, row.sort_order)
        )
    wanted = {model.strategy_id for model in models if model.strategy_id is not None}
    edits = select(Strategy.id, Strategy.updated_ms).where(Strategy.id.in_(wanted))
    updated: dict[int, int] = dict(session.execute(edits).all()) if wanted else {}
    return tuple(
        ModelConfig(
            id=model.id,
            name=model.name,
            kind=model.kind,
            status=model.status,
            market=model.market,
            workspace_market=model.workspace_market,
            initial_capital=float(model.initial_capital),
            interval_seconds=model.interval_seconds,
            interval=model.interval,
            leverage=model.leverage,
            trade_fee_rate=model.trade_fee_rate,
            slippage_bps=model.slippage_bps,
            strategy_id=model.strategy_id,
            provider_id=model.provider_id,
            model_name=model.model_name,
            risk=dict(model.risk),
            pool=tuple(pools[model.id]),
            created_ms=model.created_ms,
            strategy_updated_ms=updated.get(model.strategy_id) if model.strategy_id is not None else None,
        )
        for model in models
    )


def _paged(query: Any, table: type[FillRow] | type[AiDecision], page: Page) -> Any:
    if page.coin is not None:
        query = query.where(table.coin == page.coin)
    if page.before_ms is not None:
        query = query.where(table.timestamp_ms < page.before_ms)
    return query.order_by(table.timestamp_ms.desc(), table.id.desc()).limit(page.limit)


def _with_orders(session: Session, query: Any) -> list[tuple[AiDecision, list[int]]]:
    decisions = session.scalars(query).all()
    orders: dict[int, list[int]] = {decision.id: [] for decision in decisions}
    rows = session.execute(
        select(OrderRow.decision_id, OrderRow.id).where(OrderRow.decision_id.in_(orders)).order_by(OrderRow.id)
    )
    for decision_id, order_id in rows:
        if decision_id is not None:
            orders[decision_id].append(order_id)
    return [(decision, orders[decision.id]) for decision in decisions]
