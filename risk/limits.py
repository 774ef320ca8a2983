"""The limits themselves, in the order in which they are asked.

Percentages are in percent of the account's equity at the time of the view, unrealised profit
included, unless a docstring says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brokers.accounting import DEFAULT_MAINTENANCE_RATE, MIN_NOTIONAL
from domain.trading import Intent, MarketView, Side, Verdict
from risk.base import TOLERANCE, Limit, opposite_position, same_position, wanted_side

# Leverage is clamped this much below the value where stop and liquidation meet.
LIQUIDATION_CUSHION = 0.99


def _equity(view: MarketView) -> float:
    return view.account.total_value


def _loss_percent(start: float, low: float) -> float:
    return max(0.0, 100 * (start - low) / start)


@dataclass(frozen=True, slots=True)
class PoolMembership(Limit):
    """Only coins of the model's pool are opened, and none of weight 0. `limit` is not used."""

    limit: float = 0.0

    @property
    def name(self) -> str:
        return "coin_pool"

    def text(self) -> str:
        return "only coins of the pool are opened"

    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        if intent.coin not in view.coins:
            return self.refused(intent, view, None, None, f"{intent.coin} is not an enabled coin of the pool")
        if intent.position_size_percent <= 0:
            reason = f"the position size of {intent.coin} is 0: give it a weight in the pool"
            return self.refused(intent, view, intent.position_size_percent, None, reason)
        return self.passed(None, None, f"{intent.coin} is in the pool")


@dataclass(frozen=True, slots=True)
class MaxPositionSize(Limit):
    """Margin of one coin, what is already held of it included."""

    @property
    def name(self) -> str:
        return "max_position_size_percent"

    def text(self) -> str:
        return f"margin of one coin at most {self.limit:g} % of equity"

    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        asked, equity = intent.position_size_percent, _equity(view)
        held = same_position(intent, view)
        used = 100 * held.margin / equity if held is not None and equity > 0 else 0.0
        room = self.limit - used
        if asked <= room + TOLERANCE:
            return self.passed(asked, room, f"position size: asked {asked:g} %, allowed {room:g} %")
        if room <= TOLERANCE:
            reason = f"position size: {used:.4g} % is held already, at most {self.limit:g} %"
            return self.refused(intent, view, asked, 0.0, reason)
        reason = f"position size: asked {asked:g} %, allowed {room:g} %"
        return self.clamped(asked, room, reason, replace(intent, position_size_percent=room))


@dataclass(frozen=True, slots=True)
class MaxLeverage(Limit):
    @property
    def name(self) -> str:
        return "max_leverage"

    def text(self) -> str:
        return f"leverage at most {self.limit:g}"

    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        asked = intent.leverage
        if asked <= self.limit + TOLERANCE:
            return self.passed(asked, self.limit, f"leverage: asked {asked:g}, allowed {self.limit:g}")
        reason = f"leverage: asked {asked:g}, allowed {self.limit:g}"
        return self.clamped(asked, self.limit, reason, replace(intent, leverage=self.limit))


@dataclass(frozen=True, slots=True)
class StopBeforeLiquidation(Limit):
    """Leverage low enough that the stop-loss lies nearer than liquidation, else the stop protects nothing.

    Liquidation of an isolated position at entry E and leverage L is at E (1 - 1/L) / (1 - mmr) for a
    long and E (1 + 1/L) / (1 + mmr) for a short (DESIGN.md, "How money is counted"). Solving for the
    L at which it meets the stop at E (1 -+ s) gives L = 1 / (1 - (1 - s)(1 - mmr)) and
    1 / ((1 + s)(1 + mmr) - 1). `limit` is the stop in percent that an intent without one will get.
    """

    maintenance_rates: tuple[tuple[str, float], ...] = field(default=())

    @property
    def name(self) -> str:
        return "stop_before_liquidation"

    def text(self) -> str:
        return "leverage low enough that the stop-loss comes before liquidation"

    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        asked, stop = intent.leverage, (intent.stop_loss_percent or self.limit) / 100
        if stop <= 0:
            return self.passed(asked, None, "no stop-loss to reach before liquidation")
        rate = dict(self.maintenance_rates).get(intent.coin, DEFAULT_MAINTENANCE_RATE)
        short = wanted_side(intent) is Side.SHORT
        gap = (1 + stop) * (1 + rate) - 1 if short else 1 - (1 - stop) * (1 - rate)
        bound = LIQUIDATION_CUSHION / gap
        if not short and bound < 1:
            bound = 1.0  # a long without borrowed money is liquidated at zero, below every stop
        if asked <= bound + TOLERANCE:
            return self.passed(asked, bound, f"leverage: asked {asked:g}, the stop comes first up to {bound:.4g}")
        reason = f"leverage: asked {asked:g}, allowed {bound:.4g} so that the stop comes before liquidation"
        return self.clamped(asked, bound, reason, replace(intent, leverage=bound))


@dataclass(frozen=True, slots=True)
class MaxOpenPositions(Limit):
    """Coins held at once. Adding to one or reversing one opens no further one."""

    @property
    def name(self) -> str:
        return "max_open_positions"

    def text(self) -> str:
        return f"at most {self.limit:g} positions at once"

    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        held = view.account.positions
        after = float(len(held) + (intent.coin not in held))
        reason = f"open positions: {after:g} with this one, allowed {self.limit:g}"
        if intent.coin in held or after <= self.limit:
            return self.passed(after, self.limit, reason)
        return self.refused(intent, view, after, self.limit, reason)


@dataclass(frozen=True, slots=True)
class MaxGrossExposure(Limit):
    """Sum of the notionals of all positions; clamps the size, refuses where nothing is left."""

    @property
    def name(self) -> str:
        return "max_gross_exposure_percent"

    def text(self) -> str:
        return f"all positions together at most {self.limit:g} % of equity"

    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        equity = _equity(view)
        if equity <= 0:
            return self.refused(intent, view, None, 0.0, "gross exposure: no equity is left")
        reversed_one = opposite_position(intent, view)
        gross = sum(p.notional for p in view.account.positions.values() if p is not reversed_one)
        used = 100 * gross / equity
        asked = used + intent.position_size_percent * intent.leverage
        if asked <= self.limit + TOLERANCE:
            return self.passed(asked, self.limit, f"gross exposure: {asked:.4g} %, allowed {self.limit:g} %")
        room = max(0.0, self.limit - used)
        if room / 100 * equity < MIN_NOTIONAL:
            reason = f"gross exposure: {used:.4g} % is held already, at most {self.limit:g} %"
            return self.refused(intent, view, asked, self.limit, reason)
        size = room / intent.leverage
        reason = f"gross exposure: asked {asked:.4g} %, allowed {self.limit:g} %: position size {size:.4g} %"
        return self.clamped(asked, self.limit, reason, replace(intent, position_size_percent=size))


@dataclass(frozen=True, slots=True)
class MinConfidence(Limit):
    """Language models only: a rule set has no confidence to speak of."""

    @property
    def name(self) -> str:
        return "min_confidence"

    def text(self) -> str:
        return f"confidence at least {self.limit:g}"

    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        said = intent.confidence
        if said is not None and said + TOLERANCE >= self.limit:
            return self.passed(said, self.limit, f"confidence: {said:g}, at least {self.limit:g}")
        words = "none was given" if said is None else f"{said:g}"
        return self.refused(intent, view, said, self.limit, f"confidence: {words}, at least {self.limit:g}")


@dataclass(frozen=True, slots=True)
class MaxDailyTrades(Limit):
    """Opens (additions and reversals too) since 00:00 UTC."""

    @property
    def name(self) -> str:
        return "max_daily_trades"

    def text(self) -> str:
        return f"at most {self.limit:g} opens a day (UTC)"

    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        after = float(view.opens_today + 1)
        reason = f"opens today: {after:g} with this one, allowed {self.limit:g}"
        if after <= self.limit:
            return self.passed(after, self.limit, reason)
        return self.refused(intent, view, after, self.limit, reason)


@dataclass(frozen=True, slots=True)
class MaxDailyLoss(Limit):
    """Loss since 00:00 UTC in percent of the equity then, unrealised included.

    Once touched it refuses opens until the next UTC day, also when the account recovers: the view's
    extras name the day's lowest equity (`day_low_equity`) where the engine keeps it.
    """

    @property
    def name(self) -> str:
        return "max_daily_loss_percent"

    def text(self) -> str:
        return f"no opens for the rest of the day (UTC) after a loss of {self.limit:g} %"

    def is_touched(self, start: float, low: float) -> bool:
        """Whether a fall of equity from `start` to `low` is one that refuses opens."""
        return start > 0 and _loss_percent(start, low) >= self.limit - TOLERANCE

    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        start = view.day_start_equity
        if start is None or start <= 0:
            return self.passed(None, self.limit, "the day's first equity is not known")
        low = min(_equity(view), view.extras.get("day_low_equity", start))
        loss = _loss_percent(start, low)
        reason = f"daily loss: {loss:.4g} % of the equity at 00:00 UTC, limit {self.limit:g} %"
        if not self.is_touched(start, low):
            return self.passed(loss, self.limit, reason)
        return self.refused(intent, view, loss, self.limit, f"{reason}; no opens until the next day")


@dataclass(frozen=True, slots=True)
class DefaultStopLoss(Limit):
    """Sets a stop-loss where the trader gave none. Percent of the entry price as filled."""

    @property
    def name(self) -> str:
        return "stop_loss_percent"

    def text(self) -> str:
        return f"a stop-loss at {self.limit:g} % of the entry price where none is given"

    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        given = intent.stop_loss_percent
        if given > 0:
            return self.passed(given, given, f"stop-loss: {given:g} % given")
        reason = f"stop-loss: none given, set at {self.limit:g} %"
        return self.clamped(None, self.limit, reason, replace(intent, stop_loss_percent=self.limit))


@dataclass(frozen=True, slots=True)
class DefaultTakeProfit(Limit):
    """Sets a take-profit where the trader gave none. Percent of the entry price as filled."""

    @property
    def name(self) -> str:
        return "take_profit_percent"

    def text(self) -> str:
        return f"a take-profit at {self.limit:g} % of the entry price where none is given"

    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        given = intent.take_profit_percent
        if given > 0:
            return self.passed(given, given, f"take-profit: {given:g} % given")
        reason = f"take-profit: none given, set at {self.limit:g} %"
        return self.clamped(None, self.limit, reason, replace(intent, take_profit_percent=self.limit))
