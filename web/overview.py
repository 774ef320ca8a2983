"""The dashboard's numbers in one reading: what every model's ledger says, and the prices of their coins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from domain.errors import NotFound, Retryable
from domain.market import Quote
from domain.times import DAY_MS
from runtime.services import services
from store.snapshots import SnapshotStore
from web.shell import is_simulated

LATEST_ROWS = 30
EQUITY_POINTS = 600
# Coins to show where no model has a pool yet.
TOP_COINS = 10


def overview(equity_points: int = EQUITY_POINTS) -> dict[str, Any]:
    """Of /api/overview and of the dashboard's first paint. `equity_points` 0 leaves the curves out."""
    now = services().clock.now_ms()
    models = _models(now, equity_points)
    positions = [{"model_id": model["id"], **position} for model in models for position in model.pop("positions_open")]
    coins, source, age = _coins(models, positions)
    ids = [model["id"] for model in models]
    return {
        "now_ms": now,
        "simulated": is_simulated(),
        "price_source": source,
        "price_age_ms": age,
        "totals": _totals(models, positions),
        "models": models,
        "positions": positions,
        "trades": _latest(row for id_ in ids for row in services().models.trades(id_, limit=LATEST_ROWS)),
        "decisions": _latest_decisions(ids),
        "coins": coins,
    }


def _latest(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["timestamp"], row["id"]), reverse=True)[:LATEST_ROWS]


def _latest_decisions(ids: list[int]) -> list[dict[str, Any]]:
    """Those that wanted something; where there is none yet, those that left everything as it is."""

    def read(*, is_without_hold: bool) -> list[dict[str, Any]]:
        read_one = services().models.latest_decisions
        return _latest(row for id_ in ids for row in read_one(id_, LATEST_ROWS, is_without_hold=is_without_hold))

    return read(is_without_hold=True) or read(is_without_hold=False)


def _models(now: int, equity_points: int) -> list[dict[str, Any]]:
    held = services().models
    ranks = {row["model_id"]: row for row in held.leaderboard()}
    snapshots = SnapshotStore(services().database)
    found = []
    for model in held.list():
        portfolio = held.portfolio(model["id"])
        at_midnight, _lowest = snapshots.day(model["id"], now - now % DAY_MS)
        rank: Mapping[str, Any] = ranks.get(model["id"], {})
        total = portfolio["total_value"]
        row = {
            **{name: model[name] for name in ("id", "name", "kind", "status", "interval", "coins")},
            **{
                name: portfolio[name]
                for name in ("initial_capital", "cash", "total_value", "return_percentage", "margin_used",
                             "unrealized_pnl")
            },
            **{name: rank.get(name) for name in ("max_drawdown", "sharpe", "trades", "fees")},
            "pnl_today": None if at_midnight is None else total - at_midnight,
            "positions_open": portfolio["positions"],
        }  # fmt: skip
        if equity_points:
            curve = [[point["timestamp"], point["equity"]] for point in held.equity(model["id"], limit=equity_points)]
            row["equity"] = [*curve, [now, total]] if not curve or curve[-1][0] < now else curve
        found.append(row)
    return found


def _totals(models: list[dict[str, Any]], positions: list[dict[str, Any]]) -> dict[str, Any]:
    def add(name: str) -> float:
        return float(sum(model[name] for model in models))

    capital, total = add("initial_capital"), add("total_value")
    days = [model["pnl_today"] for model in models if model["pnl_today"] is not None]
    today = sum(days) if days else None
    return {
        "models": len(models),
        "running": sum(model["status"] == "running" for model in models),
        "positions": len(positions),
        "initial_capital": capital,
        "total_value": total,
        "return_percentage": 100 * (total - capital) / capital if capital > 0 else None,
        "pnl_today": today,
        "pnl_today_percent": 100 * today / (total - today) if today is not None and total - today > 0 else None,
        "unrealized_pnl": add("unrealized_pnl"),
        "margin_used": add("margin_used"),
        "cash": add("cash"),
    }


def _coins(
    models: list[dict[str, Any]], positions: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], str | None, int | None]:
    """Prices of the coins that somebody trades, with their source and the age of the oldest."""
    listed = services().catalogue.list_coins()
    wanted = dict.fromkeys([coin for model in models for coin in model["coins"]] + [row["coin"] for row in positions])
    symbols = list(wanted) or [coin.symbol for coin in listed[:TOP_COINS]]
    market = services().market
    try:
        quotes: Mapping[str, Quote] = market.quotes(symbols)
    except (Retryable, NotFound):
        return [], None, None  # the panel says so; the ledgers are shown all the same
    names = {coin.symbol: coin.name for coin in services().catalogue.list_coins(is_active=None)}
    rows = [
        {
            "symbol": symbol, "name": names.get(symbol, symbol), "price": quote.price,
            "change_percent_24h": quote.change_percent_24h, "high_24h": quote.high_24h, "low_24h": quote.low_24h,
        }
        for symbol, quote in quotes.items()
    ]  # fmt: skip
    sources = " · ".join(dict.fromkeys(quote.source for quote in quotes.values()))
    ages = [market.freshness(quote).age_ms for quote in quotes.values()]
    return rows, sources or None, max(ages, default=None)
