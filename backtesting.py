"""Backtest: the engine's step over history, or the kernel where a trader can be vectorised.

`Backtester.prepare` turns a request into a plan (everything that can be wrong is found there),
`Backtester.run` turns the plan into a report. The same stored data and the same request give the same
report, whether it was asked for by a page, a program or the command line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from brokers.paper import PaperBroker
from brokers.terms import AccountTerms, InstrumentTerms, MemoryJournal
from domain.errors import Cancelled, InvalidValue
from domain.market import SeriesKey
from domain.trading import Account, Action, Intent, MarketView, Result
from simulation.history import CoinData, CoinPlan, HistoryClock, HistoryFeed, HistoryReader, HistoryTerms
from simulation.outcome import Outcome, Plan, compose, describe_settings
from simulation.request import BacktestRequest, check_detail, parse_request, span_ms
from simulation.runs import CoinTerms, RunTerms, result_of_steps, run_kernel
from strategies.ruleset import RuleSet, parse_ruleset
from trading_engine import EngineState, MemoryRecorder, Parts, Terms, TradingEngine

if TYPE_CHECKING:
    from domain.ports import RiskRule, Trader
    from simulation.result import SimResult
    from store.candles import CandleStore
    from store.funding import FundingStore
    from store.models import ModelConfig, ModelStore
    from store.series_lookup import SeriesLookup
    from strategies.signals import Program
    from strategies.store import StrategyStore

# Bars loaded before the start at least, where that many are stored. A strategy that remembers longer
# (Program.history: until a value depends on its seed by less than one part in 1e9) gets more.
WARMUP_BARS = 1_000

Progress = Callable[[float], None]


class Backtester:
    """Reads stored candles and funding, runs strategies and models over them. Thread-safe."""

    def __init__(
        self,
        candles: CandleStore,
        funding: FundingStore,
        lookup: SeriesLookup,
        strategies: StrategyStore,
        models: ModelStore,
    ) -> None:
        self._candles = candles
        self._lookup = lookup
        self._strategies = strategies
        self._models = models
        self.reader = HistoryReader(candles, funding, lookup)

    # -- planning -----------------------------------------------------------------------------

    def prepare(self, body: dict[str, Any]) -> Plan:
        """A plan for a request body; InvalidValue or NotFound name what is wrong with it."""
        request = parse_request(body)
        start_ms, end_ms = span_ms(request)
        model = self._models.get(request.model_id) if request.model_id else None
        ruleset = self._ruleset(request, model)
        names, shares = self._pool(request, model)
        interval = request.interval or (model.interval if model else "1h")
        venue, market = self._lookup.place(names, interval, request.venue, request.market)
        check_detail(interval, request.detail_interval)
        if model is not None:
            _check_for_model(request)
        coins = tuple(
            CoinPlan(name, self._series(name, venue, market, interval, start_ms, end_ms), share)
            for name, share in zip(names, shares, strict=True)
        )
        terms = self._terms(request, model, ruleset, coins)
        history = HistoryTerms(
            start_ms=start_ms,
            end_ms=end_ms,
            warmup_bars=_warmup(ruleset),
            detail_interval=request.detail_interval,
            has_funding=request.funding == "auto",
            has_shorts=terms.direction != "long",
            leverage=max(coin.leverage for coin in terms.coins.values()),
        )
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        title = f"{model.name if model else ruleset.name if ruleset else ''}: {shown}"
        settings = describe_settings(request, ruleset, coins, terms, history)
        return Plan(title, ruleset, model, coins, history, terms, settings)

    def _ruleset(self, request: BacktestRequest, model: ModelConfig | None) -> RuleSet | None:
        if request.strategy is not None:
            return _inline_ruleset(request.strategy)
        strategy_id = request.strategy_id if model is None else model.strategy_id
        if model is not None and model.kind not in ("rules", "hold"):
            raise InvalidValue(f"models of kind {model.kind} cannot be backtested yet", field="model_id")
        return self._strategies.load_ruleset(strategy_id) if strategy_id is not None else None

    def _pool(self, request: BacktestRequest, model: ModelConfig | None) -> tuple[tuple[str, ...], list[float]]:
        """Coins in their order, and the margin of each in percent of equity before any limit."""
        if model is None:
            names = self._lookup.coin_names(request.coins or ())
            return names, [request.position_size_percent or 100.0 / len(names)] * len(names)
        weights = {coin.symbol: coin.weight for coin in model.enabled}
        names = self._lookup.coin_names(request.coins if request.coins is not None else tuple(weights))
        if not names:
            raise InvalidValue(f"model {model.name} has no enabled coin in its pool", field="model_id")
        total = sum(weights.get(name, 1.0) for name in names)
        return names, [100.0 * weights.get(name, 1.0) / total if total else 0.0 for name in names]

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

    def _terms(
        self,
        request: BacktestRequest,
        model: ModelConfig | None,
        ruleset: RuleSet | None,
        coins: Sequence[CoinPlan],
    ) -> RunTerms:
        def asked(name: str, default: float) -> float:
            value = getattr(request, name)
            if value is None and model is not None and name in _OF_MODEL:
                value = getattr(model, name)
            return float(default if value is None else value)

        fee_rate = asked("trade_fee_rate", 0.001)
        leverage = asked("leverage", 1.0)
        how = {
            coin.coin: CoinTerms(
                coin.size_percent,
                leverage,
                self._lookup.instrument(coin.coin, coin.key),
                request.maintenance_margin_rate,
            )
            for coin in coins
        }
        return RunTerms(
            coins=how,
            step_ms=coins[0].key.step_ms,
            initial_capital=asked("initial_capital", 10_000.0),
            fee_rate=fee_rate,
            maker_fee_rate=asked("maker_fee_rate", fee_rate),
            slippage_bps=asked("slippage_bps", 0.0),
            direction=ruleset.direction if ruleset else "long",
            fill_price=request.fill_price,
            stop_loss_percent=asked("stop_loss_percent", 0.0),
            take_profit_percent=asked("take_profit_percent", 0.0),
            trailing_stop_percent=asked("trailing_stop_percent", 0.0),
        )

    # -- running ------------------------------------------------------------------------------

    def run(self, plan: Plan, progress: Progress, is_cancelled: Callable[[], bool]) -> Outcome:
        """Runs the plan. `progress` hears fractions in 0..1; Cancelled where `is_cancelled` says so."""
        data = []
        for done, coin in enumerate(plan.coins):
            _stop_if(is_cancelled)
            data.append(self.reader.read(coin, plan.history))
            progress(0.2 * (done + 1) / len(plan.coins))
        result, summary, seconds = _run(plan, data, lambda done: progress(0.2 + 0.7 * done), is_cancelled)
        _stop_if(is_cancelled)
        progress(0.95)
        return compose(plan, data, result, summary, seconds)


# Limits that the kernel has as parameters; pool membership is given with the pool.
KERNEL_LIMITS = frozenset(
    {
        "coin_pool",
        "max_position_size_percent",
        "max_leverage",
        "stop_before_liquidation",
        "stop_loss_percent",
        "take_profit_percent",
    }
)

# What a request may leave to the model that it names.
_OF_MODEL = frozenset({"initial_capital", "trade_fee_rate", "slippage_bps", "leverage"})


def _warmup(ruleset: RuleSet | None) -> int:
    from strategies.signals import compile_ruleset

    return max(WARMUP_BARS, compile_ruleset(ruleset).history) if ruleset else 0


def _run(
    plan: Plan, data: Sequence[CoinData], progress: Progress, is_cancelled: Callable[[], bool]
) -> tuple[SimResult, dict[str, Any], float]:
    """Result, summary, and the seconds from candles in memory to both."""
    from simulation.metrics import summarize
    from strategies.signals import compile_ruleset

    program = compile_ruleset(plan.ruleset) if plan.ruleset else None
    warm_up()
    started = time.perf_counter()
    terms = plan.terms if plan.model is None else kernel_terms(plan)
    if program is not None and terms is not None:
        result = run_kernel(terms, data, program.signals)
    else:
        result = run_engine(plan, data, program, progress, is_cancelled)
    summary = summarize(result)
    return result, summary, time.perf_counter() - started


@cache
def warm_up() -> None:
    """Loads (on a first start: compiles) the numba code of signals and simulation, once a process."""
    from simulation import kernel
    from strategies import signals

    kernel.warm_up()
    signals.warm_up()


# -- models ---------------------------------------------------------------------------------


def kernel_terms(plan: Plan) -> RunTerms | None:
    """The terms under which the kernel trades as the model's limits would have it; None where it cannot.

    It can where every active limit is one of its parameters: sizes, leverage, stop and target, the same for
    longs and shorts and (stop and target) for all coins.
    """
    rules = _rules(plan)
    if any(rule.name not in KERNEL_LIMITS for rule in rules):
        return None
    allowed = {name: _allowed(plan, name, rules) for name in plan.terms.coins}
    if any(len(set(sides)) != 1 for sides in allowed.values()):
        return None
    first = {name: sides[0] for name, sides in allowed.items()}
    levels = {(stop, target) for _size, _leverage, stop, target in first.values()}
    if len(levels) != 1:
        return None
    stop, target = levels.pop()
    coins = {
        name: replace(plan.terms.coins[name], size_percent=size, leverage=leverage)
        for name, (size, leverage, _stop, _target) in first.items()
    }
    return replace(plan.terms, coins=coins, stop_loss_percent=stop, take_profit_percent=target)


def _allowed(plan: Plan, coin: str, rules: Sequence[RiskRule]) -> list[tuple[float, float, float, float]]:
    """(size percent, leverage, stop percent, target percent) that the rules leave of a long and of a short."""
    terms, how = plan.terms, plan.terms.coins[coin]
    account = Account(cash=terms.initial_capital, initial_capital=terms.initial_capital, positions={})
    view = MarketView(0, "", tuple(terms.coins), {}, account)
    left = []
    for action in (Action.LONG, Action.SHORT):
        intent = Intent(
            coin, action, "", how.size_percent, how.leverage, terms.stop_loss_percent, terms.take_profit_percent
        )
        for rule in rules:
            verdict = rule.check(intent, view)
            if verdict.adjusted is not None:
                intent = verdict.adjusted
            elif verdict.result is Result.REFUSE:
                intent = replace(intent, position_size_percent=0.0)
        left.append(
            (intent.position_size_percent, intent.leverage, intent.stop_loss_percent, intent.take_profit_percent)
        )
    return left[:1] if terms.direction == "long" else left[1:] if terms.direction == "short" else left


def _rules(plan: Plan) -> list[RiskRule]:
    from risk.build import build_rules

    if plan.model is None:
        return []
    rates = {name: how.mmr for name, how in plan.terms.coins.items()}
    return build_rules(plan.model.risk, plan.model.kind, rates)


def run_engine(
    plan: Plan,
    data: Sequence[CoinData],
    program: Program | None,
    progress: Progress,
    is_cancelled: Callable[[], bool],
) -> SimResult:
    """The engine's step at the close of every row, over a paper account and stored candles."""
    terms = plan.terms
    feed = HistoryFeed(data, terms.step_ms)
    clock = HistoryClock(int(feed.rows[0]))
    journal = MemoryJournal()
    broker = PaperBroker(_account_terms(terms), journal, opened_ms=clock.time_ms)
    parts = Parts(clock, feed, _trader(plan, data, program), _rules(plan), broker, MemoryRecorder())
    engine = TradingEngine(parts, _engine_terms(plan), EngineState(clock.time_ms))
    rows = len(feed.rows)
    equity, cash, held = np.empty(rows), np.empty(rows), 0
    for row, opened in enumerate(feed.rows.tolist()):
        clock.time_ms = opened + terms.step_ms
        engine.step()
        account = broker.account()
        equity[row], cash[row] = account.total_value, account.cash
        held += bool(account.positions)
        if row % 500 == 0:
            _stop_if(is_cancelled)
            progress(row / rows)
    last_bar = {coin.plan.coin: int(coin.span.time[-1]) for coin in data}
    still_open = [replace(trade, exit_time_ms=last_bar[trade.coin]) for trade in broker.open_trades()]
    account = broker.account()
    return result_of_steps(
        terms,
        feed.rows,
        equity,
        cash,
        held,
        account.total_funding,
        account.total_fees,
        [*journal.trades, *still_open],
    )


def _account_terms(terms: RunTerms) -> AccountTerms:
    instruments = {
        name: InstrumentTerms(tiers=how.tiers, mmr=None if how.tiers else how.mmr) for name, how in terms.coins.items()
    }
    return AccountTerms(
        initial_capital=terms.initial_capital,
        coins=tuple(terms.coins),
        fee_rate=terms.fee_rate,
        slippage_bps=terms.slippage_bps,
        maker_fee_rate=terms.maker_fee_rate,
        instruments=instruments,
    )


def _trader(plan: Plan, data: Sequence[CoinData], program: Program | None) -> Trader:
    from traders.hold import HoldTrader
    from traders.rules import PrecomputedSignals, RulesTrader

    if program is None:
        return HoldTrader()
    history = {coin.plan.coin: coin.bars for coin in data}
    return RulesTrader(program.ruleset.name, program, source=PrecomputedSignals(program, history))


def _engine_terms(plan: Plan) -> Terms:
    terms = plan.terms
    return Terms(
        coins=tuple(terms.coins),
        interval=plan.settings["interval"],
        weights={name: how.size_percent for name, how in terms.coins.items()},
        leverage=plan.history.leverage,
        stop_loss_percent=terms.stop_loss_percent,
        take_profit_percent=terms.take_profit_percent,
        trailing_stop_percent=terms.trailing_stop_percent,
    )


def _check_for_model(request: BacktestRequest) -> None:
    if request.position_size_percent is not None:
        raise InvalidValue(
            "a model sizes its positions by the weights of its pool; leave position_size_percent out",
            field="position_size_percent",
        )
    if request.fill_price != "next_open":
        raise InvalidValue("a model's account fills at the next open only", field="fill_price")
    if request.detail_interval is not None:
        raise InvalidValue("finer candles are for strategies; leave detail_interval out", field="detail_interval")


def _inline_ruleset(strategy: dict[str, Any]) -> RuleSet:
    try:
        return parse_ruleset(strategy)
    except InvalidValue as error:
        field = f"strategy.{error.field}" if error.field else "strategy"
        raise InvalidValue(str(error), field=field) from error


def _stop_if(is_cancelled: Callable[[], bool]) -> None:
    if is_cancelled():
        raise Cancelled("the backtest was cancelled")
