"""Backtest: the engine's step over history, or the kernel where a trader can be vectorised.

`Backtester.prepare` turns a request into a plan (everything that can be wrong is found there),
`Backtester.run` turns the plan into a report. Both are pure with respect to the stored data: the same
candles and the same request give the same report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from brokers.accounting import default_maintenance_rate
from domain.errors import Cancelled, InvalidValue
from domain.market import Bars, FloatArray, IntArray, SeriesKey
from domain.times import interval_ms
from domain.trading import ClosedTrade, Reason
from simulation.funding import NONE, FundingSchedule, schedule
from simulation.report import ACCOUNT_POINTS, TRADE_ROWS, account_rows, buy_and_hold, thin
from simulation.request import BacktestRequest, check_detail, parse_request, span_ms
from store.series_lookup import SeriesLookup
from strategies.ruleset import RuleSet, parse_ruleset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulation.result import CoinInput, SimInput, SimResult
    from store.candles import CandleStore
    from store.funding import FundingStore
    from store.strategies import StrategyStore

# Part of every report: raised when a change can alter a result.
ENGINE_VERSION = "1.0"

# Bars loaded before the start, as a multiple of a strategy's declared warm-up: Wilder's smoothing forgets
# its seed as (1 - 1/n)^bars, and forty times its period leaves nothing of it in a float64.
WARMUP_FACTOR = 40
WARMUP_BARS = 1_000

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class CoinPlan:
    """One coin of a run: its series, its share of the equity, its maintenance terms."""

    coin: str
    key: SeriesKey
    size_percent: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with every default filled in and every reference resolved. `settings` is shown in the report."""

    title: str
    ruleset: RuleSet
    coins: tuple[CoinPlan, ...]
    start_ms: int
    end_ms: int
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """`report` without its trades; the whole trade list, and the whole equity curve (one value a row)."""

    report: dict[str, Any]
    trades: list[ClosedTrade]
    times: IntArray
    values: FloatArray
    cash: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _CoinData:
    """What was read for one coin. `bars` begins with warm-up; the span starts at `first`."""

    plan: CoinPlan
    bars: Bars
    first: int
    marks: Bars | None
    detail: Bars | None
    funding: FundingSchedule

    @property
    def span(self) -> Bars:
        return self.bars[self.first :]


class Backtester:
    """Reads stored candles and funding, runs strategies over them. Thread-safe."""

    def __init__(
        self, candles: CandleStore, funding: FundingStore, lookup: SeriesLookup, strategies: StrategyStore
    ) -> None:
        self._candles = candles
        self._funding = funding
        self._lookup = lookup
        self._strategies = strategies

    # -- planning -----------------------------------------------------------------------------

    def prepare(self, body: dict[str, Any]) -> Plan:
        """A plan for a request body; InvalidValue or NotFound name what is wrong with it."""
        request = parse_request(body)
        start_ms, end_ms = span_ms(request)
        ruleset, names = self._trader(request)
        interval = request.interval or "1h"
        venue, market = self._lookup.place(names, interval, request.venue, request.market)
        check_detail(interval, request.detail_interval)
        share = request.position_size_percent or 100.0 / len(names)
        coins = tuple(
            CoinPlan(name, self._series(name, venue, market, interval, start_ms, end_ms), share) for name in names
        )
        settings = self._settings(request, ruleset, coins, start_ms, end_ms)
        return Plan(f"{ruleset.name}: {', '.join(names[:5])}", ruleset, coins, start_ms, end_ms, settings)

    def _trader(self, request: BacktestRequest) -> tuple[RuleSet, tuple[str, ...]]:
        if request.strategy_id is not None:
            ruleset = self._strategies.load_ruleset(request.strategy_id)
        else:
            ruleset = _inline_ruleset(request.strategy or {})
        return ruleset, self._lookup.coin_names(request.coins or ())

    def _series(self, coin: str, venue: str, market: str, interval: str, start_ms: int, end_ms: int) -> SeriesKey:
        key = self._lookup.find(coin, venue, market, interval)
        if key is None:
            raise InvalidValue(
                f"there are no {interval} candles of {coin} on {venue} {market}; import some with"
                " 'flask candles import PATH', or choose another venue, market or interval",
                field="coins",
            )
        info = self._candles.info(key)
        if info is None or info.last_ms < start_ms or info.first_ms >= end_ms:
            raise InvalidValue(f"{key} has no candles between start_date and end_date", field="start_date")
        return key

    def _settings(
        self, request: BacktestRequest, ruleset: RuleSet, coins: tuple[CoinPlan, ...], start_ms: int, end_ms: int
    ) -> dict[str, Any]:
        key = coins[0].key
        fee = 0.001 if request.trade_fee_rate is None else request.trade_fee_rate
        return {
            "strategy_id": request.strategy_id,
            "strategy": ruleset.to_dict(),
            "model_id": request.model_id,
            "coins": [coin.coin for coin in coins],
            "start_date": request.start_date,
            "end_date": request.end_date,
            "start_ms": start_ms,
            "end_ms": end_ms,
            "interval": key.interval,
            "venue": key.venue,
            "market": key.market,
            "initial_capital": 10_000.0 if request.initial_capital is None else request.initial_capital,
            "trade_fee_rate": fee,
            "maker_fee_rate": fee if request.maker_fee_rate is None else request.maker_fee_rate,
            "slippage_bps": request.slippage_bps or 0.0,
            "leverage": request.leverage or 1.0,
            "position_size_percent": coins[0].size_percent,
            "fill_price": request.fill_price,
            "stop_loss_percent": request.stop_loss_percent or 0.0,
            "take_profit_percent": request.take_profit_percent or 0.0,
            "trailing_stop_percent": request.trailing_stop_percent or 0.0,
            "maintenance_margin_rate": request.maintenance_margin_rate,
            "funding": request.funding,
            "detail_interval": request.detail_interval,
        }

    # -- running ------------------------------------------------------------------------------

    def run(self, plan: Plan, progress: Progress, is_cancelled: Callable[[], bool]) -> Outcome:
        """Runs the plan. `progress` hears fractions in 0..1; Cancelled where `is_cancelled` says so."""
        from strategies.signals import compile_ruleset

        program = compile_ruleset(plan.ruleset)
        warmup = max(WARMUP_BARS, WARMUP_FACTOR * program.warmup)
        data = []
        for done, coin in enumerate(plan.coins):
            _stop_if(is_cancelled)
            data.append(self._read(plan, coin, warmup))
            progress(0.5 * (done + 1) / len(plan.coins))
        _stop_if(is_cancelled)
        result, summary, seconds = self._simulate(plan, data, program.signals)
        _stop_if(is_cancelled)
        progress(0.95)
        return self._outcome(plan, data, result, summary, seconds)

    def _read(self, plan: Plan, coin: CoinPlan, warmup: int) -> _CoinData:
        key = coin.key
        everything = self._candles.load(key, None, plan.end_ms)
        start = int(np.searchsorted(everything.time, plan.start_ms))
        if start == len(everything):
            raise InvalidValue(f"{key} has no candles between start_date and end_date", field="start_date")
        first = min(start, warmup)
        bars = everything[start - first :]
        return _CoinData(coin, bars, first, self._marks(key, plan), self._detail(key, plan), self._rates(plan, coin))

    def _marks(self, key: SeriesKey, plan: Plan) -> Bars | None:
        if key.market != "perp":
            return None
        marks = self._candles.load(replace(key, market="perp-mark"), plan.start_ms, plan.end_ms)
        return marks if len(marks) else None

    def _detail(self, key: SeriesKey, plan: Plan) -> Bars | None:
        finer = plan.settings["detail_interval"]
        if finer is None:
            return None
        detail = self._candles.load(replace(key, interval=finer), plan.start_ms, plan.end_ms + key.step_ms)
        return detail if len(detail) else None

    def _rates(self, plan: Plan, coin: CoinPlan) -> FundingSchedule:
        """Who pays: positions on perp, levered ones, shorts. An unlevered long on spot owns its coins."""
        settings, key = plan.settings, coin.key
        if settings["funding"] == "none":
            return NONE
        longs_pay = key.market == "perp" or settings["leverage"] > 1.0
        if not longs_pay and plan.ruleset.direction == "long":
            return NONE
        symbol = self._lookup.funding_symbol(coin.coin, key)
        times, rates = self._funding.load(key.venue, symbol) if symbol else (np.empty(0, np.int64), np.empty(0))
        end_ms = plan.end_ms + interval_ms(key.interval)
        return schedule(times, rates, plan.start_ms, end_ms, longs_pay=longs_pay, name=coin.coin)

    def _simulate(
        self, plan: Plan, data: Sequence[_CoinData], signals: Callable[[Bars], Any]
    ) -> tuple[SimResult, dict[str, Any], float]:
        """Signals, fills, equity, trades, drawdown and Sharpe: what `engine.seconds` times."""
        from simulation.kernel import simulate
        from simulation.metrics import summarize

        started = time.perf_counter()
        coins = tuple(self._coin_input(plan, coin, signals(coin.bars)[coin.first :]) for coin in data)
        result = simulate(self._sim_input(plan, coins))
        summary = summarize(result)
        return result, summary, time.perf_counter() - started

    def _coin_input(self, plan: Plan, data: _CoinData, signals: Any) -> CoinInput:
        from simulation.result import CoinInput

        settings = plan.settings
        instrument = self._lookup.instrument(data.plan.coin, data.plan.key)
        override = settings["maintenance_margin_rate"]
        tiers = instrument.tiers if instrument and override is None else ()
        known_leverage = instrument.max_leverage if instrument else None
        return CoinInput(
            coin=data.plan.coin,
            bars=data.span,
            signals=signals,
            size_percent=data.plan.size_percent,
            leverage=settings["leverage"],
            mmr=default_maintenance_rate(known_leverage or 0.0) if override is None else override,
            tiers=tiers,
            marks=data.marks,
            funding_times=data.funding.times,
            funding_rates=data.funding.long_rates,
            short_funding_rates=data.funding.short_rates,
            detail=data.detail,
        )

    def _sim_input(self, plan: Plan, coins: tuple[CoinInput, ...]) -> SimInput:
        from simulation.result import SimInput

        settings = plan.settings
        return SimInput(
            coins=coins,
            step_ms=interval_ms(settings["interval"]),
            initial_capital=settings["initial_capital"],
            fee_rate=settings["trade_fee_rate"],
            slippage_rate=settings["slippage_bps"] / 10_000.0,
            direction=plan.ruleset.direction,
            fill_price=settings["fill_price"],
            stop_loss_percent=settings["stop_loss_percent"],
            take_profit_percent=settings["take_profit_percent"],
            trailing_stop_percent=settings["trailing_stop_percent"],
        )

    # -- reporting ----------------------------------------------------------------------------

    def _outcome(
        self, plan: Plan, data: Sequence[_CoinData], result: SimResult, summary: dict[str, Any], seconds: float
    ) -> Outcome:
        equity = np.empty(0) if result.equity is None else result.equity
        trades = result.trade_rows()
        kept = thin(equity, ACCOUNT_POINTS)
        hold = self._hold(plan, data, result.times)
        summary = {**summary, "buy_and_hold_return": (float(hold[-1]) / plan.settings["initial_capital"] - 1) * 100}
        report = {
            "summary": summary,
            "account_values": account_rows(result.times, equity, result.cash, kept),
            "buy_and_hold": [
                {"timestamp": at, "value": value}
                for at, value in zip(result.times[kept].tolist(), hold[kept].tolist(), strict=True)
            ],
            "data": [self._describe_data(coin) for coin in data],
            "settings": dict(plan.settings),
            "engine": {
                "version": ENGINE_VERSION,
                "seconds": seconds,
                "optimistic": plan.settings["fill_price"] != "next_open",
                "trades_total": len(trades),
                "notes": _notes(plan, data, trades),
            },
        }
        return Outcome(report, trades, result.times, equity, result.cash)

    def _hold(self, plan: Plan, data: Sequence[_CoinData], times: IntArray) -> FloatArray:
        opens = np.full((len(times), len(data)), np.nan)
        closes = np.full((len(times), len(data)), np.nan)
        for column, coin in enumerate(data):
            at = np.searchsorted(times, coin.span.time)
            opens[at, column], closes[at, column] = coin.span.open, coin.span.close
        sizes = np.array([coin.plan.size_percent for coin in data])
        settings = plan.settings
        return buy_and_hold(opens, closes, settings["initial_capital"], settings["trade_fee_rate"], sizes / sizes.sum())

    def _describe_data(self, data: _CoinData) -> dict[str, Any]:
        key, span = data.plan.key, data.span
        return {
            "coin": data.plan.coin,
            "venue": key.venue,
            "market": key.market,
            "symbol": key.symbol,
            "interval": key.interval,
            "rows": len(span),
            "first": int(span.time[0]),
            "last": int(span.time[-1]),
            "gaps": int(np.count_nonzero(np.diff(span.time) > key.step_ms)),
            "sha256": span.sha256(),
        }


def _inline_ruleset(strategy: dict[str, Any]) -> RuleSet:
    try:
        return parse_ruleset(strategy)
    except InvalidValue as error:
        field = f"strategy.{error.field}" if error.field else "strategy"
        raise InvalidValue(str(error), field=field) from error


def _stop_if(is_cancelled: Callable[[], bool]) -> None:
    if is_cancelled():
        raise Cancelled("the backtest was cancelled")


def _notes(plan: Plan, data: Sequence[_CoinData], trades: Sequence[ClosedTrade]) -> list[str]:
    """What somebody who believes this report must know, in sentences."""
    settings = plan.settings
    notes = [coin.funding.note for coin in data if coin.funding.note]
    if settings["fill_price"] != "next_open":
        notes.append(
            f"fill_price {settings['fill_price']} is optimistic: nobody can trade at a price that is known only"
            " once it has passed"
        )
    if settings["market"] == "spot" and (plan.ruleset.direction != "long" or settings["leverage"] > 1):
        notes.append("spot candles are shorted or levered here, as an approximation of the perpetual")
    gaps = sum(int(np.count_nonzero(np.diff(c.span.time) > c.plan.key.step_ms)) for c in data)
    if gaps:
        notes.append(f"the candles have {gaps} gaps; orders and stops waited for the next candle")
    for coin in data:
        if coin.span.time[0] - plan.start_ms >= coin.plan.key.step_ms:
            notes.append(f"{coin.plan.coin}: its candles begin after start_date")
        if settings["detail_interval"] and coin.detail is None:
            notes.append(f"{coin.plan.coin}: no {settings['detail_interval']} candles; bars were not refined")
    if len(trades) > TRADE_ROWS:
        notes.append(f"the report shows {TRADE_ROWS:,} of {len(trades):,} trades; trades.csv has them all")
    still_open = sum(trade.reason is Reason.OPEN for trade in trades)
    if still_open:
        notes.append(f"{still_open} positions are still open at the end, valued at the last close without an exit fee")
    return notes
