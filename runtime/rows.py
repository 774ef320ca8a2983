"""From rows and values to the contract's JSON. Pure; the routes and the pushed events share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from database import AiDecision, Order
from database import Fill as FillRow
from domain.trading import Account, Position
from risk import parse_risk
from store.models import ModelConfig, PoolCoin
from store.snapshots import Snapshot


def model_row(config: ModelConfig) -> dict[str, Any]:
    return {
        "id": config.id,
        "name": config.name,
        "kind": config.kind,
        "status": config.status,
        "market": config.market,
        "workspace_market": config.workspace_market,
        "initial_capital": config.initial_capital,
        "interval_seconds": config.interval_seconds,
        "interval": config.interval,
        "leverage": config.leverage,
        "trade_fee_rate": config.trade_fee_rate,
        "slippage_bps": config.slippage_bps,
        "strategy_id": config.strategy_id,
        "provider_id": config.provider_id,
        "model_name": config.model_name,
        "coins": [coin.symbol for coin in config.pool],
        "risk": parse_risk(config.risk, config.kind),
        "created_at": config.created_ms,
    }


def pool_row(coin: PoolCoin) -> dict[str, Any]:
    return {
        "id": coin.coin_id,
        "symbol": coin.symbol,
        "name": coin.name,
        "is_active": coin.is_active,
        "is_enabled": coin.is_enabled,
        "weight": coin.weight,
        "sort_order": coin.sort_order,
    }


def trade_row(fill: FillRow, decision_id: int | None) -> dict[str, Any]:
    return {
        "id": fill.id,
        "model_id": fill.model_id,
        "timestamp": fill.timestamp_ms,
        "coin": fill.coin,
        "signal": fill.signal,
        "side": fill.side,
        "quantity": float(fill.quantity),
        "price": float(fill.price),
        "leverage": fill.leverage,
        "fee": float(fill.fee),
        "pnl": None if fill.pnl is None else float(fill.pnl),
        "reason": fill.reason,
        "order_id": fill.order_id,
        "decision_id": decision_id,
    }


def decision_row(decision: AiDecision, order_ids: Sequence[int]) -> dict[str, Any]:
    return {
        "id": decision.id,
        "model_id": decision.model_id,
        "timestamp": decision.timestamp_ms,
        "symbol": decision.coin,
        "action": decision.action,
        "leverage": decision.leverage,
        "position_size_percent": decision.position_size_percent,
        "confidence": decision.confidence,
        "stop_loss": decision.stop_loss,
        "take_profit": decision.take_profit,
        "reasoning": decision.reasoning,
        "executed": decision.executed,
        "verdicts": decision.verdicts,
        "order_ids": list(order_ids),
        "tokens": decision.tokens,
        "cost": None if decision.cost is None else float(decision.cost),
        "latency_ms": decision.latency_ms,
    }


def order_row(order: Order) -> dict[str, Any]:
    intent = order.intent
    return {
        "id": order.id,
        "client_id": order.client_id,
        "decision_id": order.decision_id,
        "timestamp": order.created_ms,
        "updated_at": order.updated_ms,
        "coin": order.coin,
        "action": intent["action"],
        "position_size_percent": intent["position_size_percent"],
        "leverage": intent["leverage"],
        "stop_loss_percent": intent["stop_loss_percent"],
        "take_profit_percent": intent["take_profit_percent"],
        "status": order.status,
        "reason": order.reason,
    }


def position_row(position: Position, current_price: float | None) -> dict[str, Any]:
    """`current_price` None: no source knows it now. The values are then those at the last known price."""
    return {
        "coin": position.coin,
        "side": position.side.value,
        "quantity": position.quantity,
        "avg_price": position.avg_price,
        "current_price": current_price,
        "leverage": position.leverage,
        "margin": position.margin,
        "notional_value": position.notional,
        "value": position.value,
        "unrealized_pnl": position.unrealized_pnl,
        "liquidation_price": position.liquidation_price,
        "stop_loss": position.stop_loss,
        "take_profit": position.take_profit,
        "trailing_stop_percent": position.trailing_stop_percent or None,
        "opened_at": position.opened_ms,
    }


def totals(account: Account) -> dict[str, Any]:
    """The sums of an account.

    realized_pnl is what the books hold beyond the capital, net of every fee and funding paid so far: so
    total_value = cash + positions_value = initial_capital + realized_pnl + unrealized_pnl, always.
    """
    margin, unrealized = account.margin_used, account.unrealized_pnl
    positions_value = margin + unrealized
    total = account.cash + positions_value
    capital = account.initial_capital
    return {
        "initial_capital": capital,
        "cash": account.cash,
        "positions_value": positions_value,
        "total_value": total,
        "realized_pnl": account.cash + margin - capital,
        "unrealized_pnl": unrealized,
        "total_fees": account.total_fees,
        "total_funding": account.total_funding,
        "margin_used": margin,
        "return_percentage": 100 * (total - capital) / capital if capital > 0 else 0.0,
    }


def portfolio(model_id: int, account: Account, prices: Mapping[str, float | None], now_ms: int) -> dict[str, Any]:
    """`account` valued at `prices`; a coin whose price is None keeps its last known one for the sums."""
    rows = [position_row(position, prices.get(position.coin)) for position in account.positions.values()]
    return {"model_id": model_id, "timestamp": now_ms, **totals(account), "positions": rows}


def equity_row(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "timestamp": snapshot.timestamp,
        "balance": snapshot.balance,
        "equity": snapshot.equity,
        "unrealized_pnl": snapshot.unrealized_pnl,
        "margin_used": snapshot.margin_used,
        "margin_ratio": snapshot.margin_ratio,
    }
