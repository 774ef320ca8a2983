"""/api/models: who trades, with which coins, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Response
from pydantic import Field, StringConstraints

from runtime.services import services
from web.answers import render, render_nothing
from web.openapi import api_blueprint, documented
from web.parsing import body, query
from web.schemas import Answer, Body, CoinSymbol, Id, Ms, Query

bp = api_blueprint("models")

ModelName = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"\S")]
Kind = Literal["rules", "llm", "team", "grid", "hold"]
Status = Literal["running", "paused"]
Money = Annotated[float, Field(ge=1, le=1e12)]
Seconds = Annotated[int, Field(ge=1, le=604_800)]
Leverage = Annotated[float, Field(ge=1, le=1000)]
FeeRate = Annotated[float, Field(ge=0, lt=0.1)]
Slippage = Annotated[float, Field(ge=0, le=1000)]
Weight = Annotated[float, Field(ge=0, le=1e9)]
# Written as 3 or as 3.0, which is how a program sends back what it has read.
Whole = Annotated[float, Field(ge=0, multiple_of=1)]


class Risk(Body):
    """Limits; 0 switches one off. Those left out keep their value, or the default (0 for kind hold)."""

    max_position_size_percent: float = Field(20, ge=0, le=100)
    max_leverage: float = Field(20, ge=0, le=1000)
    max_open_positions: Whole = Field(3, le=1000)
    max_gross_exposure_percent: float = Field(300, ge=0, le=100_000)
    min_confidence: float = Field(60, ge=0, le=100, description="Language models only")
    max_daily_trades: Whole = Field(50, le=1_000_000, description="Opens a UTC day")
    max_daily_loss_percent: float = Field(10, ge=0, le=100, description="Of the equity at 00:00 UTC")
    stop_loss_percent: float = Field(5, ge=0, le=100, description="Of the entry price, where none is given")
    take_profit_percent: float = Field(10, ge=0, le=100_000, description="Of the entry price, where none is given")


class ModelFields(Body):
    status: Status = "running"
    market: Literal["perp", "spot"] = "perp"
    initial_capital: Money = Field(10_000.0)
    interval_seconds: Seconds = Field(60, description="How often it is looked at")
    interval: str = Field("1h", max_length=4, description="Its candles: 1m, 5m, 15m, 1h, ...")
    leverage: Leverage = 1.0
    trade_fee_rate: FeeRate = Field(0.001, description="Silent: DEFAULT_TRADE_FEE_RATE")
    slippage_bps: Slippage = 0.0
    strategy_id: Id | None = Field(None, description="Of kind rules")
    provider_id: Id | None = None
    model_name: str | None = Field(None, max_length=200)
    risk: Risk = Field(default_factory=lambda: Risk())


class NewModel(ModelFields):
    name: ModelName
    kind: Kind
    coins: list[CoinSymbol] = Field(default_factory=list, max_length=500, description="Symbols of its pool")


class ModelChanges(ModelFields):
    """Fields that are left out stay as they are. The capital is fixed once the account has traded."""

    name: ModelName = ""
    kind: Kind = "rules"


class RiskRow(Answer):
    max_position_size_percent: float
    max_leverage: float
    max_open_positions: float
    max_gross_exposure_percent: float
    min_confidence: float
    max_daily_trades: float
    max_daily_loss_percent: float
    stop_loss_percent: float
    take_profit_percent: float


class ModelRow(Answer):
    id: Id
    name: str
    kind: Kind
    status: Status
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
    coins: list[str]
    risk: RiskRow
    created_at: Ms


class PoolRow(Answer):
    """A coin of a pool; `id` is the coin's."""

    id: Id
    symbol: str
    name: str
    is_active: bool
    is_enabled: bool
    weight: float
    sort_order: int


class ModelDetail(ModelRow):
    cycles: int
    settled_ms: Ms
    decided_ms: Ms
    pool: list[PoolRow]


class NewPoolCoin(Body):
    """The coin by its id (`coin_id` is the same) or its symbol."""

    id: Id | None = None
    coin_id: Id | None = None
    symbol: CoinSymbol | None = None
    weight: Weight = 1.0
    is_enabled: bool = True


class PoolChanges(Body):
    weight: Weight = 1.0
    is_enabled: bool = True
    sort_order: int = Field(0, ge=0, le=1_000_000)


class Added(Answer):
    added: int
    already: int


class PositionRow(Answer):
    """`current_price` is null where no source knows it; the values are then those at the last known price."""

    coin: str
    side: Literal["long", "short"]
    quantity: float
    avg_price: float
    current_price: float | None
    leverage: float
    margin: float
    notional_value: float
    value: float
    unrealized_pnl: float
    liquidation_price: float | None
    stop_loss: float | None
    take_profit: float | None
    trailing_stop_percent: float | None
    opened_at: Ms


class Portfolio(Answer):
    """total_value = cash + positions_value = initial_capital + realized_pnl + unrealized_pnl."""

    model_id: Id
    timestamp: Ms
    initial_capital: float
    cash: float
    positions_value: float
    total_value: float
    realized_pnl: float
    unrealized_pnl: float
    total_fees: float
    total_funding: float
    margin_used: float
    return_percentage: float
    positions: list[PositionRow]


class TradeRow(Answer):
    id: Id
    model_id: Id
    timestamp: Ms
    coin: str
    signal: Literal["buy_to_enter", "sell_to_enter", "close_position"]
    side: Literal["long", "short"]
    quantity: float
    price: float
    leverage: float
    fee: float
    pnl: float | None
    reason: Literal["signal", "stop_loss", "take_profit", "trailing_stop", "liquidation"]
    order_id: Id
    decision_id: int | None


class VerdictRow(Answer):
    rule: str
    result: Literal["pass", "clamp", "refuse"]
    asked: float | None
    allowed: float | None
    reason: str


class DecisionRow(Answer):
    id: Id
    model_id: Id
    timestamp: Ms
    symbol: str
    action: Literal["LONG", "SHORT", "CLOSE", "HOLD"]
    leverage: float | None
    position_size_percent: float | None
    confidence: float | None
    stop_loss: float | None
    take_profit: float | None
    reasoning: str
    executed: bool
    verdicts: list[VerdictRow]
    order_ids: list[int]
    tokens: int | None
    cost: float | None
    latency_ms: int | None


class CycleVerdict(VerdictRow):
    decision_id: Id
    symbol: str


class OrderRow(Answer):
    id: Id
    client_id: str
    decision_id: int | None
    timestamp: Ms
    updated_at: Ms
    coin: str
    action: str
    position_size_percent: float
    leverage: float
    stop_loss_percent: float
    take_profit_percent: float
    status: Literal["planned", "submitted", "filled", "cancelled", "refused", "expired"]
    reason: str


class Cycle(Answer):
    decisions: list[DecisionRow]
    verdicts: list[CycleVerdict]
    orders: list[OrderRow]
    fills: list[TradeRow]


class EquityRow(Answer):
    timestamp: Ms
    balance: float
    equity: float
    unrealized_pnl: float
    margin_used: float
    margin_ratio: float | None


class LogQuery(Query):
    coin: str | None = Field(None, max_length=40)
    limit: int = Field(50, ge=1, le=1000)
    before: Ms | None = Field(None, description="Only what happened before this time")


class EquityQuery(Query):
    limit: int = Field(1000, ge=1, le=10_000, description="The newest of the span")
    start: Ms | None = None
    before: Ms | None = None


def _given(asked: ModelFields) -> dict[str, Any]:
    """The fields that the caller named, the limits too."""
    values = asked.changes()
    if "risk" in values:
        values["risk"] = asked.risk.changes()
    return values


# -- models -------------------------------------------------------------------------------


@bp.get("")
@documented(answer=list[ModelRow])
def list_models() -> Response:
    """All models by id."""
    return render(services().models.list())


@bp.post("")
@documented(body=NewModel, answer=ModelDetail, status=201)
def create_model() -> Response:
    """Makes a model with its pool and its account."""
    return render(services().models.create(_given(body(NewModel))), 201)


@bp.get("/<int:model_id>")
@documented(answer=ModelDetail)
def get_model(model_id: int) -> Response:
    """One model with its pool."""
    return render(services().models.get(model_id))


@bp.put("/<int:model_id>")
@documented(body=ModelChanges, answer=ModelDetail)
def change_model(model_id: int) -> Response:
    """Changes the fields named; `status` pauses and resumes."""
    return render(services().models.update(model_id, _given(body(ModelChanges))))


@bp.delete("/<int:model_id>")
@documented(status=204)
def delete_model(model_id: int) -> Response:
    """Removes the model, its account and everything that it did."""
    services().models.delete(model_id)
    return render_nothing()


@bp.post("/<int:model_id>/execute")
@documented(answer=Cycle)
def execute(model_id: int) -> Response:
    """One cycle now, of a paused model too; its fills are awaited up to two seconds."""
    return render(services().models.execute(model_id))


# -- pools --------------------------------------------------------------------------------


@bp.get("/<int:model_id>/coins")
@documented(answer=list[PoolRow])
def list_pool(model_id: int) -> Response:
    """The coins of the pool in their order."""
    return render(services().models.pool(model_id))


@bp.post("/<int:model_id>/coins")
@documented(body=NewPoolCoin, answer=PoolRow, status=201)
def add_coin(model_id: int) -> Response:
    """Adds a coin at the end of the pool."""
    asked = body(NewPoolCoin)
    values = {**asked.changes(), "id": asked.id or asked.coin_id}
    return render(services().models.add_coin(model_id, values), 201)


@bp.put("/<int:model_id>/coins/<int:coin_id>")
@documented(body=PoolChanges, answer=PoolRow)
def change_coin(model_id: int, coin_id: int) -> Response:
    """Weight, place and whether it is enabled. An open position of a disabled coin stays managed."""
    return render(services().models.update_coin(model_id, coin_id, body(PoolChanges).changes()))


@bp.delete("/<int:model_id>/coins/<int:coin_id>")
@documented(status=204)
def remove_coin(model_id: int, coin_id: int) -> Response:
    """Takes the coin out of the pool. An open position of it stays managed: stops and targets are kept."""
    services().models.remove_coin(model_id, coin_id)
    return render_nothing()


@bp.post("/<int:model_id>/add-group/<int:group_id>")
@documented(answer=Added)
def add_group(model_id: int, group_id: int) -> Response:
    """Adds the active coins of a group."""
    return render(services().models.add_group(model_id, group_id))


# -- accounts -----------------------------------------------------------------------------


@bp.get("/<int:model_id>/portfolio")
@documented(answer=Portfolio)
def get_portfolio(model_id: int) -> Response:
    """Cash and positions at live prices."""
    return render(services().models.portfolio(model_id))


@bp.get("/<int:model_id>/trades")
@documented(query=LogQuery, answer=list[TradeRow])
def list_trades(model_id: int) -> Response:
    """Executions, one a fill, newest first."""
    asked = query(LogQuery)
    return render(services().models.trades(model_id, asked.limit, asked.before, asked.coin))


@bp.get("/<int:model_id>/decisions")
@documented(query=LogQuery, answer=list[DecisionRow])
def list_decisions(model_id: int) -> Response:
    """Decisions with their verdicts, newest first."""
    asked = query(LogQuery)
    return render(services().models.decisions(model_id, asked.limit, asked.before, asked.coin))


@bp.get("/<int:model_id>/equity")
@documented(query=EquityQuery, answer=list[EquityRow])
def list_equity(model_id: int) -> Response:
    """Snapshots of the account, oldest first."""
    asked = query(EquityQuery)
    return render(services().models.equity(model_id, asked.limit, asked.before, asked.start))
