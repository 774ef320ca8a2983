"""What the event bus carries: pages, alerts and the event table all listen there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Names of the contract's pushed events.
PRICE_UPDATE = "price_update"
KLINE_UPDATE = "kline_update"
TRADE_EXECUTED = "trade_executed"
POSITION_UPDATE = "position_update"
AI_DECISION = "ai_decision"
ACCOUNT_UPDATE = "account_update"
MARKET_EVENT = "market_event"
BACKTEST_PROGRESS = "backtest_progress"
STATUS = "status"
# Inside the server only.
MODEL_CHANGED = "model_changed"

# Values of `data["event_type"]` in a MARKET_EVENT, as the contract lists them.
MARKET_EVENT_TYPES = ("price_alert", "position_change", "agent_action", "risk", "source", "system")


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is one of the names above; `data` is ready for JSON."""

    kind: str
    time_ms: int
    data: Mapping[str, Any] = field(default_factory=dict)
