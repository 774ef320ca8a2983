"""Between the values of trading and the rows of the books. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from database import AiDecision, to_money
from database import Order as OrderRow
from domain.trading import (
    Action,
    ClosedTrade,
    Decision,
    Fill,
    Intent,
    LedgerEntry,
    Order,
    OrderStatus,
    Position,
    Side,
    Verdict,
)


def position_of(state: dict[str, Any]) -> Position:
    return Position(**{**state, "side": Side(state["side"])})


def intent_of(values: dict[str, Any], decision_id: int | None) -> Intent:
    return Intent(**{**values, "action": Action(values["action"]), "decision_id": decision_id})


def order_of(row: OrderRow) -> Order:
    intent = intent_of(row.intent, row.decision_id)
    return Order(intent, OrderStatus(row.status), row.created_ms, row.updated_ms, row.reason)


def decision_row(model_id: int, now_ms: int, decision: Decision, verdicts: Sequence[Verdict]) -> AiDecision:
    return AiDecision(
        model_id=model_id,
        timestamp_ms=now_ms,
        coin=decision.coin,
        action=decision.action.value,
        leverage=decision.leverage,
        position_size_percent=decision.position_size_percent,
        confidence=decision.confidence,
        stop_loss=decision.stop_loss,
        take_profit=decision.take_profit,
        reasoning=decision.reasoning,
        executed=False,
        verdicts=[
            {"rule": v.rule, "result": v.result.value, "asked": v.asked, "allowed": v.allowed, "reason": v.reason}
            for v in verdicts
        ],
    )


def order_values(model_id: int, order: Order) -> dict[str, Any]:
    intent = asdict(order.intent)
    decision_id = intent.pop("decision_id")
    return {
        "client_id": order.intent.client_id,
        "model_id": model_id,
        "decision_id": decision_id,
        "coin": order.intent.coin,
        "intent": intent,
        "status": order.status.value,
        "reason": order.reason,
        "created_ms": order.created_ms,
        "updated_ms": order.updated_ms,
    }


def fill_signal(side: str, opens: bool) -> str:
    """The contract's word for what a fill does."""
    if not opens:
        return "close_position"
    return "buy_to_enter" if side == Side.LONG else "sell_to_enter"


def fill_values(model_id: int, order_id: int, fill: Fill) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "sequence": fill.sequence,
        "model_id": model_id,
        "coin": fill.coin,
        "timestamp_ms": fill.time_ms,
        "signal": fill_signal(fill.side, fill.opens),
        "side": fill.side.value,
        "opens": fill.opens,
        "quantity": to_money(fill.quantity),
        "price": to_money(fill.price),
        "leverage": fill.leverage,
        "margin": to_money(fill.margin),
        "fee": to_money(fill.fee),
        "pnl": None if fill.pnl is None else to_money(fill.pnl),
        "reason": fill.reason.value,
    }


def entry_values(model_id: int, entry: LedgerEntry, amount: Decimal) -> dict[str, Any]:
    return {
        "model_id": model_id,
        "ref": entry.ref,
        "timestamp_ms": entry.time_ms,
        "account": entry.account,
        "coin": entry.coin,
        "amount": amount,
    }


def trade_values(model_id: int, fill_id: int, trade: ClosedTrade) -> dict[str, Any]:
    return {
        "model_id": model_id,
        "fill_id": fill_id,
        "coin": trade.coin,
        "side": trade.side.value,
        "entry_time_ms": trade.entry_time_ms,
        "entry_price": to_money(trade.entry_price),
        "exit_time_ms": trade.exit_time_ms,
        "exit_price": to_money(trade.exit_price),
        "quantity": to_money(trade.quantity),
        "leverage": trade.leverage,
        "fee": to_money(trade.fee),
        "funding": to_money(trade.funding),
        "pnl": to_money(trade.pnl),
        "pnl_percent": trade.pnl_percent,
        "exit_reason": trade.reason.value,
    }


def _optional_money(value: float | None) -> Decimal | None:
    return None if value is None else to_money(value)


def position_values(position: Position) -> dict[str, Any]:
    return {
        "coin": position.coin,
        "side": position.side.value,
        "quantity": to_money(position.quantity),
        "avg_price": to_money(position.avg_price),
        "margin": to_money(position.margin),
        "entry_fees": to_money(position.entry_fees),
        "funding": to_money(position.funding),
        "stop_loss": _optional_money(position.stop_loss),
        "take_profit": _optional_money(position.take_profit),
        "trailing_stop_percent": position.trailing_stop_percent,
        "best_price": _optional_money(position.best_price),
        "liquidation_price": _optional_money(position.liquidation_price),
        "last_price": _optional_money(position.last_price),
        "opened_ms": position.opened_ms,
        "state": asdict(position),
    }
