"""A run's plan, and the report of what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from domain.market import FloatArray, IntArray
from domain.trading import ClosedTrade, Reason
from simulation.history import CoinData, CoinPlan, HistoryTerms
from simulation.report import ACCOUNT_POINTS, TRADE_ROWS, account_rows, buy_and_hold, thin
from simulation.request import BacktestRequest
from simulation.runs import RunTerms

if TYPE_CHECKING:
    from simulation.result import SimResult
    from store.models import ModelConfig
    from strategies.ruleset import RuleSet

# Part of every report: raised when a change can alter a result.
ENGINE_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with every default filled in and every reference resolved.

    `ruleset` is None for a trader without rules (hold). `model` is the account whose trader and limits are
    run; None for a bare strategy. `settings` is what the report shows.
    """

    title: str
    ruleset: RuleSet | None
    model: ModelConfig | None
    coins: tuple[CoinPlan, ...]
    history: HistoryTerms
    terms: RunTerms
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """`report` without its trades; the whole trade list, and the whole equity curve (one value a row)."""

    report: dict[str, Any]
    trades: list[ClosedTrade]
    times: IntArray
    values: FloatArray
    cash: FloatArray


def compose(
    plan: Plan, data: Sequence[CoinData], result: SimResult, summary: dict[str, Any], seconds: float
) -> Outcome:
    """The outcome of a run; `seconds` from candles in memory to `result` and `summary`."""
    equity = np.empty(0) if result.equity is None else result.equity
    trades = result.trade_rows()
    kept = thin(equity, ACCOUNT_POINTS)
    hold = _hold(plan, data, result.times)
    capital = plan.terms.initial_capital
    report = {
        "summary": {**summary, "buy_and_hold_return": (float(hold[-1]) / capital - 1.0) * 100.0},
        "account_values": account_rows(result.times, equity, result.cash, kept),
        "buy_and_hold": [
            {"timestamp": at, "value": value}
            for at, value in zip(result.times[kept].tolist(), hold[kept].tolist(), strict=True)
        ],
        "data": [coin.describe() for coin in data],
        "settings": dict(plan.settings),
        "engine": {
            "version": ENGINE_VERSION,
            "seconds": seconds,
            "optimistic": plan.terms.fill_price != "next_open",
            "trades_total": len(trades),
            "notes": _notes(plan, data, trades),
        },
    }
    return Outcome(report, trades, result.times, equity, result.cash)


def _hold(plan: Plan, data: Sequence[CoinData], times: IntArray) -> FloatArray:
    opens = np.full((len(times), len(data)), np.nan)
    closes = np.full((len(times), len(data)), np.nan)
    for column, coin in enumerate(data):
        at = np.searchsorted(times, coin.span.time)
        opens[at, column], closes[at, column] = coin.span.open, coin.span.close
    sizes = np.array([coin.plan.size_percent for coin in data])
    shares = sizes / sizes.sum() if sizes.sum() > 0 else np.full(len(data), 1.0 / len(data))
    return buy_and_hold(opens, closes, plan.terms.initial_capital, plan.terms.fee_rate, shares)


def describe_settings(
    request: BacktestRequest,
    ruleset: RuleSet | None,
    coins: Sequence[CoinPlan],
    terms: RunTerms,
    history: HistoryTerms,
) -> dict[str, Any]:
    """All that was asked, with the defaults filled in."""
    key, how = coins[0].key, next(iter(terms.coins.values()))
    return {
        "strategy_id": request.strategy_id,
        "strategy": ruleset.to_dict() if ruleset else None,
        "model_id": request.model_id,
        "coins": [coin.coin for coin in coins],
        "start_date": request.start_date,
        "end_date": request.end_date,
        "start_ms": history.start_ms,
        "end_ms": history.end_ms,
        "interval": key.interval,
        "venue": key.venue,
        "market": key.market,
        "initial_capital": terms.initial_capital,
        "trade_fee_rate": terms.fee_rate,
        "maker_fee_rate": terms.maker_fee_rate,
        "slippage_bps": terms.slippage_bps,
        "leverage": how.leverage,
        "position_size_percent": how.size_percent,
        "size_percent_by_coin": {coin.coin: coin.size_percent for coin in coins},
        "fill_price": terms.fill_price,
        "stop_loss_percent": terms.stop_loss_percent,
        "take_profit_percent": terms.take_profit_percent,
        "trailing_stop_percent": terms.trailing_stop_percent,
        "maintenance_margin_rate": _maintenance_rate(terms),
        "maintenance_margin_rates": {name: None if one.tiers else one.mmr for name, one in terms.coins.items()},
        "funding": request.funding,
        "detail_interval": request.detail_interval,
    }


def _maintenance_rate(terms: RunTerms) -> float | None:
    """The one rate of all coins; None where they differ or go by tiers."""
    rates = {None if how.tiers else how.mmr for how in terms.coins.values()}
    return rates.pop() if len(rates) == 1 else None


def _notes(plan: Plan, data: Sequence[CoinData], trades: Sequence[ClosedTrade]) -> list[str]:
    """What somebody who believes this report must know, in sentences."""
    settings, terms = plan.settings, plan.terms
    notes = [coin.funding.note for coin in data if coin.funding.note]
    if terms.fill_price != "next_open":
        notes.append(
            f"fill_price {terms.fill_price} is optimistic: nobody can trade at a price that is known only"
            " once it has passed"
        )
    if settings["market"] == "spot" and (terms.direction != "long" or plan.history.leverage > 1):
        notes.append("spot candles are shorted or levered here, as an approximation of the perpetual")
    notes += [
        f"{name}: leverage {how.leverage:g} is more than the {how.instrument.max_leverage:g} that the venue allows"
        for name, how in terms.coins.items()
        if how.instrument and how.instrument.max_leverage and how.leverage > how.instrument.max_leverage > 1
    ]
    if plan.model is not None and len(plan.coins) < len(plan.model.enabled):
        notes.append(
            f"only {len(plan.coins)} of the {len(plan.model.enabled)} coins of the model's pool are run;"
            " the weights are shared out among them"
        )
    gaps = sum(coin.gaps for coin in data)
    if gaps:
        notes.append(f"the candles have {gaps} gaps; orders and stops waited for the next candle")
    for coin in data:
        if int(coin.span.time[0]) - plan.history.start_ms >= terms.step_ms:
            notes.append(f"{coin.plan.coin}: its candles begin after start_date")
        if plan.history.detail_interval and coin.detail is None:
            notes.append(f"{coin.plan.coin}: no {plan.history.detail_interval} candles; bars were not refined")
    if len(trades) > TRADE_ROWS:
        notes.append(f"the report shows {TRADE_ROWS:,} of {len(trades):,} trades; trades.csv has them all")
    still_open = sum(trade.reason is Reason.OPEN for trade in trades)
    if still_open:
        many = "1 position is" if still_open == 1 else f"{still_open} positions are"
        notes.append(f"{many} still open at the end, valued at the last close without an exit fee")
    return notes
