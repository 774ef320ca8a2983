"""TradingEngine: settle, look, decide, gate, record, submit. The same for every mode.

Which mode it is follows from the collaborators: a stepped clock, a history feed and journals in
memory make a backtest; the market's clock, the live feed and the database make a paper account.
Nothing here knows of databases, web servers or threads: whoever calls it makes sure that one
account is stepped by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from domain.market import Bars
from domain.ports import Broker, Clock, Cycle, Feed, Recorder, RiskRule, Trader
from domain.times import DAY_MS, MINUTE_MS, floor_ms, interval_ms
from domain.trading import (
    Account,
    Action,
    Decision,
    Fill,
    Intent,
    MarketView,
    Position,
    Prices,
    Result,
    Side,
    Verdict,
)
from risk.limits import MaxDailyLoss

WAITING_RULE = "order_waiting"

Row = tuple[Decision, Sequence[Verdict], Intent | None]


@dataclass(frozen=True, slots=True)
class Terms:
    """What an account trades with; may be exchanged between two steps when its owner edits the model.

    `coins`: the enabled coins in the order of the pool. `weights` share out the equity where a decision
    names no size: weight / sum of weights x 100 %. The percentages are used where a decision is silent;
    0 is none. `history`: closed candles shown to the trader, where that is more than its warm-up.
    `once_per_bar`: decide once for each closed bar (rules, hold); else at every step.
    """

    coins: tuple[str, ...]
    interval: str
    weights: Mapping[str, float] = field(default_factory=dict)
    leverage: float = 1.0
    position_size_percent: float | None = None
    stop_loss_percent: float = 0.0
    take_profit_percent: float = 0.0
    trailing_stop_percent: float = 0.0
    history: int = 1
    once_per_bar: bool = True
    limits: tuple[str, ...] = ()

    def size_percent(self, coin: str) -> float:
        """Margin of one coin as a percentage of equity, before any limit."""
        if self.position_size_percent is not None:
            return self.position_size_percent
        if not self.weights:
            return 100.0 / len(self.coins) if coin in self.coins else 0.0
        total = sum(self.weights.get(name, 0.0) for name in self.coins)
        return 100.0 * self.weights.get(coin, 0.0) / total if total > 0 else 0.0


@dataclass(slots=True)
class EngineState:
    """What an engine remembers between steps; a restart reads it back from the store.

    `settled_ms`: every price up to here has been applied. `decided`: the newest candle close of each coin
    that was decided on. The day is the UTC day of the last step; `day_start_equity` its equity at 00:00, with
    the account behind it where this engine saw the day begin. `bought`: coins that the account has ever opened.
    """

    settled_ms: int
    decided: dict[str, int] = field(default_factory=dict)
    day_start_ms: int = 0
    day_start_equity: float | None = None
    day_low_equity: float | None = None
    opens_today: int = 0
    day_start_account: Account | None = None
    bought: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did. `verdicts[i]` are those of `decisions[i]`; `orders` were submitted, in this order."""

    decisions: tuple[Decision, ...] = ()
    verdicts: tuple[tuple[Verdict, ...], ...] = ()
    orders: tuple[Intent, ...] = ()
    fills: tuple[Fill, ...] = ()
    decided: bool = False


@dataclass(slots=True)
class MemoryRecorder:
    """A Recorder for runs that store nothing: a backtest, or a test that reads `rows`."""

    keep: bool = False
    rows: list[tuple[int, Row]] = field(default_factory=list)

    def decided(self, rows: Sequence[Row], cycle: Cycle) -> list[Intent | None]:
        if self.keep:
            self.rows += [(cycle.now_ms, row) for row in rows]
        return [intent for _, _, intent in rows]

    def loss_touched(self, account: Account, time_ms: int) -> None:
        """The engine of such a run lives as long as the run."""


def new_client_id() -> str:
    """32 hex characters that no other order will ever have."""
    return uuid4().hex


@dataclass(slots=True)
class Parts:
    """The collaborators that make a mode."""

    clock: Clock
    feed: Feed
    trader: Trader
    rules: Sequence[RiskRule]
    broker: Broker
    recorder: Recorder


class TradingEngine:
    """One account. `step()` is called when its model is due, `settle()` whenever there are new prices.

    Not thread-safe. Retryable errors of the feed pass through: nothing was decided then, and the next
    step takes up where this one stopped, because `settled_ms` moves only with prices applied.
    """

    def __init__(
        self, parts: Parts, terms: Terms, state: EngineState, new_id: Callable[[], str] = new_client_id
    ) -> None:
        self.parts = parts
        self.terms = terms
        self.state = state
        self._new_id = new_id
        self._loss = next((rule for rule in parts.rules if isinstance(rule, MaxDailyLoss)), None)
        self._coins: tuple[str, ...] | None = None

    # -- the step ---------------------------------------------------------------------

    def step(self) -> StepResult:
        """One cycle: settles, and decides where a bar has closed that was not yet decided on."""
        now_ms = self.parts.clock.now_ms()
        fills = tuple(self.settle(now_ms))
        view = self.look(now_ms)
        if view is None:
            return StepResult(fills=fills)
        rows = self._decide(view)
        closes = self._closes(view)
        has_orders = any(intent is not None for _, _, intent in rows)
        settled_ms = _before_fills(self.state.settled_ms, now_ms) if has_orders else self.state.settled_ms
        planned = self.parts.recorder.decided(rows, Cycle(now_ms, settled_ms, closes, view.account.positions))
        self.state.decided.update(closes)
        self.state.settled_ms = settled_ms
        orders = tuple(intent for intent in planned if intent is not None)
        for intent in orders:
            self.parts.broker.submit(intent)
        if orders:
            self._coins = None
        return StepResult(
            decisions=tuple(row[0] for row in rows),
            verdicts=tuple(tuple(row[1]) for row in rows),
            orders=orders,
            fills=fills,
            decided=True,
        )

    # -- settle -----------------------------------------------------------------------

    def settle(self, now_ms: int | None = None) -> list[Fill]:
        """Applies every price since the last call to the account: fills, funding, stops, liquidation."""
        now = self.parts.clock.now_ms() if now_ms is None else now_ms
        state, broker = self.state, self.parts.broker
        filled: list[Fill] = []
        broker.poll()
        # A coin without position and order concerns nobody. A fill may end a coin's part in the middle of
        # the prices, never begin one: new orders come from decisions only.
        coins = self.involved()
        for prices in self.parts.feed.since(coins, state.settled_ms, now) if coins else ():
            self._roll_day(_time_of(prices))
            filled += self._apply(prices)
        if not coins:
            state.settled_ms = max(state.settled_ms, now)
        self._roll_day(now)
        return filled

    def _apply(self, prices: Prices) -> Sequence[Fill]:
        state, broker = self.state, self.parts.broker
        batch = broker.advance(prices)
        state.settled_ms = prices.end_ms
        if batch.fills or batch.orders:
            self._coins = None
            opened = [fill.coin for fill in batch.fills if fill.opens]
            state.opens_today += len(opened)
            state.bought.update(opened)
        if self._loss is not None:
            self._note_loss(self._loss, prices)
        return batch.fills

    def _note_loss(self, rule: MaxDailyLoss, prices: Prices) -> None:
        """The day's lowest equity. What a limit forbids for the day must outlive this process, so it is recorded."""
        start, low = self.state.day_start_equity, self.state.day_low_equity
        if start is None or low is None:
            return
        account = self.parts.broker.account()
        if account.total_value >= low:
            return
        self.state.day_low_equity = account.total_value
        if rule.is_touched(start, account.total_value) and not rule.is_touched(start, low):
            self.parts.recorder.loss_touched(account, _time_of(prices))

    def _roll_day(self, time_ms: int) -> None:
        """At the first price of a new UTC day: the equity before it is the equity at 00:00."""
        state = self.state
        if state.day_start_ms <= time_ms < state.day_start_ms + DAY_MS:
            return
        if time_ms < state.day_start_ms:
            return
        state.day_start_ms = floor_ms(time_ms, DAY_MS)
        state.day_start_account = self.parts.broker.account()
        state.day_start_equity = state.day_low_equity = state.day_start_account.total_value
        state.opens_today = 0

    def involved(self) -> tuple[str, ...]:
        """Coins that a price means something to: held or ordered, in pool order, then the rest."""
        if self._coins is None:
            broker = self.parts.broker
            names = dict.fromkeys(broker.account().positions)
            names.update(dict.fromkeys(order.intent.coin for order in broker.open_orders()))
            rank = {coin: i for i, coin in enumerate(self.terms.coins)}
            self._coins = tuple(sorted(names, key=lambda coin: rank.get(coin, len(rank))))
        return self._coins

    # -- look -------------------------------------------------------------------------

    def look(self, now_ms: int) -> MarketView | None:
        """What the trader may know at `now_ms`; None where no candle has closed since the last decision."""
        terms = self.terms
        step_ms = interval_ms(terms.interval)
        newest = floor_ms(now_ms, step_ms)
        if terms.once_per_bar and all(self._last(coin) >= newest for coin in terms.coins):
            return None
        count = max(self.parts.trader.warmup, terms.history, 1)
        bars = {coin: self.parts.feed.bars(coin, terms.interval, count, now_ms) for coin in terms.coins}
        fresh = frozenset(coin for coin, b in bars.items() if len(b) and int(b.time[-1]) + step_ms > self._last(coin))
        if terms.once_per_bar and not fresh:
            return None
        return self._view(now_ms, bars, fresh)

    def _view(self, now_ms: int, bars: Mapping[str, Bars], fresh: frozenset[str]) -> MarketView:
        terms, state = self.terms, self.state
        extras: dict[str, Any] = {"bought": frozenset(state.bought)}
        if state.day_low_equity is not None:
            extras["day_low_equity"] = state.day_low_equity
        return MarketView(
            now_ms=now_ms,
            interval=terms.interval,
            coins=terms.coins,
            bars=bars,
            account=self.parts.broker.account(),
            weights=terms.weights,
            fresh=fresh,
            opens_today=state.opens_today,
            day_start_equity=state.day_start_equity,
            limits=terms.limits,
            leverage=terms.leverage,
            extras=extras,
        )

    def _last(self, coin: str) -> int:
        return self.state.decided.get(coin, 0)

    def _closes(self, view: MarketView) -> dict[str, int]:
        step_ms = interval_ms(view.interval)
        return {coin: int(view.bars[coin].time[-1]) + step_ms for coin in view.fresh}

    # -- decide and gate --------------------------------------------------------------

    def _decide(self, view: MarketView) -> list[Row]:
        """Decisions with verdicts and what is left to order: closes first, then opens in pool order."""
        decisions = self.parts.trader.decide(view)
        if not decisions:
            return []
        rank = {coin: i for i, coin in enumerate(view.coins)}
        decisions.sort(key=lambda d: (d.action is not Action.CLOSE, rank.get(d.coin, len(rank))))
        if all(decision.action is Action.HOLD for decision in decisions):
            return [(decision, (), None) for decision in decisions]
        waiting = [order.intent for order in self.parts.broker.open_orders()]
        judged = view
        for order in waiting:
            judged = project(judged, order)
        rows: list[Row] = []
        for decision in decisions:
            verdicts, intent = self._gate(decision, judged, waiting)
            if intent is not None:
                judged = project(judged, intent)
            rows.append((decision, verdicts, intent))
        return rows

    def _gate(
        self, decision: Decision, view: MarketView, waiting: Sequence[Intent]
    ) -> tuple[tuple[Verdict, ...], Intent | None]:
        asked = self._intent(decision)
        if asked is None or (asked.action is Action.CLOSE and decision.coin not in view.account.positions):
            return (), None
        if any(order.coin == asked.coin and order.action is asked.action for order in waiting):
            reason = f"an order of {asked.coin} in the same direction still waits for its price"
            return (Verdict(WAITING_RULE, Result.REFUSE, None, None, reason),), None
        verdicts: list[Verdict] = []
        intent = asked
        for rule in self.parts.rules:
            verdict = rule.check(intent, view)
            verdicts.append(verdict)
            if verdict.adjusted is not None:
                intent = verdict.adjusted
            elif verdict.result is Result.REFUSE:
                return tuple(verdicts), None
        return tuple(verdicts), intent

    def _intent(self, decision: Decision) -> Intent | None:
        """What the decision asks for, the model's terms filled in where it is silent."""
        terms = self.terms
        if decision.action is Action.HOLD:
            return None
        if decision.action is Action.CLOSE:
            return Intent(decision.coin, Action.CLOSE, self._new_id(), confidence=decision.confidence)
        size = decision.position_size_percent
        stop, target = decision.stop_loss, decision.take_profit
        return Intent(
            coin=decision.coin,
            action=decision.action,
            client_id=self._new_id(),
            position_size_percent=terms.size_percent(decision.coin) if size is None else size,
            leverage=decision.leverage or terms.leverage,
            stop_loss_percent=terms.stop_loss_percent if stop is None else stop,
            take_profit_percent=terms.take_profit_percent if target is None else target,
            trailing_stop_percent=terms.trailing_stop_percent,
            confidence=decision.confidence,
        )


def project(view: MarketView, intent: Intent) -> MarketView:
    """The view as it will be once `intent` has filled at the last known price, for the rules that come next.

    Two opens of one cycle share the limits: without this each would be judged as if it were alone.
    """
    account = view.account
    positions = dict(account.positions)
    cash, held = account.cash, positions.get(intent.coin)
    side = {Action.LONG: Side.LONG, Action.SHORT: Side.SHORT}.get(intent.action)
    if held is not None and held.side is not side:
        cash += held.value
        held = positions.pop(intent.coin)
    price = _last_price(view, intent.coin, held)
    if side is None or price is None:
        return replace(view, account=_with(account, cash, positions))
    margin = max(0.0, min(account.total_value * intent.position_size_percent / 100, cash))
    position = Position(intent.coin, side, margin * intent.leverage / price, price, margin, view.now_ms)
    if held is not None and held.side is side:
        quantity = held.quantity + position.quantity
        position = replace(position, quantity=quantity, margin=held.value + margin)
    positions[intent.coin] = position
    return replace(view, account=_with(account, cash - margin, positions), opens_today=view.opens_today + 1)


def _before_fills(settled_ms: int, now_ms: int) -> int:
    """All prices up to now are applied: what fills the orders of a decision must come after it.

    Not beyond a full minute that no price has passed yet: its funding still comes, with the next price.
    """
    minute = floor_ms(now_ms, MINUTE_MS)
    return minute if settled_ms < minute else max(settled_ms, now_ms)


def _time_of(prices: Prices) -> int:
    """The day that a step belongs to: a candle that ends at 00:00 is the last of the day before."""
    return prices.end_ms - 1 if prices.end_ms > prices.time_ms else prices.end_ms


def _with(account: Account, cash: float, positions: Mapping[str, Position]) -> Account:
    return replace(account, cash=cash, positions=positions)


def _last_price(view: MarketView, coin: str, held: Position | None) -> float | None:
    bars = view.bars.get(coin)
    if bars is not None and len(bars):
        return float(bars.close[-1])
    return None if held is None else held.last_price or held.avg_price
