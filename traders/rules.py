"""A trader that follows a rule set: one decision for each closed bar of each coin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from domain.errors import BadData
from domain.market import Bars, IntArray
from domain.trading import Action, Decision, MarketView, Position, Side
from strategies.signals import Program, SignalArray
from traders.sizing import weight_percent


class SignalSource(Protocol):
    """Tells the signal (+1 buy, -1 sell, 0 none) of the newest of `bars`."""

    def __call__(self, coin: str, bars: Bars) -> int: ...


class ComputedSignals:
    """Computes the signal from the end of the view's own bars; what a live account uses.

    Looks at `program.history` bars at most: what lies before them moves no value by more than one
    part in 1e9. Where the bars are fewer, the answer is exactly that of the whole series.
    """

    def __init__(self, program: Program) -> None:
        self._program = program

    def __call__(self, coin: str, bars: Bars) -> int:
        if len(bars) == 0:
            return 0
        return int(self._program.signals(newest(bars, self._program.history))[-1])


class PrecomputedSignals:
    """Looks signals up by bar time; for a backtest that has the whole history of every coin in hand."""

    def __init__(self, program: Program, history: Mapping[str, Bars]) -> None:
        self._known: dict[str, tuple[IntArray, SignalArray]] = {
            coin: (bars.time, program.signals(bars)) for coin, bars in history.items()
        }

    def __call__(self, coin: str, bars: Bars) -> int:
        """BadData where the newest bar is not part of the history: the two feeds differ."""
        if len(bars) == 0:
            return 0
        times, signals = self._known[coin] if coin in self._known else (np.empty(0, dtype=np.int64), None)
        time = int(bars.time[-1])
        at = int(np.searchsorted(times, time))
        if signals is None or at == len(times) or int(times[at]) != time:
            raise BadData(f"no signal was computed for {coin} at bar {time}")
        return int(signals[at])


class RulesTrader:
    """Follows a compiled rule set in the direction that it allows.

    A buy signal opens a long and closes a short, a sell signal closes a long and opens a short; a signal
    in the direction already held does nothing, and a position is held until the opposite signal. A coin
    is decided on once for each closed bar (`view.fresh`); the others get no decision. A position opens with
    weight / sum of the pool's weights of the equity and with the view's leverage.
    """

    def __init__(self, name: str, program: Program, direction: str | None = None, source: SignalSource | None = None):
        self._name = name
        self._program = program
        self._direction = direction or program.ruleset.direction
        self._source: SignalSource = source or ComputedSignals(program)

    @property
    def name(self) -> str:
        return self._name

    @property
    def warmup(self) -> int:
        """Bars a view should hold: enough that values do not depend on where its bars begin."""
        return self._program.history

    def decide(self, view: MarketView) -> list[Decision]:
        return [self._decide(coin, view) for coin in view.coins if coin in view.fresh]

    def _decide(self, coin: str, view: MarketView) -> Decision:
        bars = view.bars[coin]
        signal = self._source(coin, bars)
        position = view.account.positions.get(coin)
        if signal == 0:
            return Decision(coin, Action.HOLD, reasoning=self._silence(bars))
        action, why_not = self._action(signal, position)
        said = self._program.explain(newest(bars, self._program.history)) or f"{_word(signal)} signal"
        if action is Action.HOLD:
            return Decision(coin, action, reasoning=f"{said}. Holding: {why_not}.")
        if action is Action.CLOSE:
            return Decision(coin, action, reasoning=f"{said}.")
        percent = weight_percent(coin, view)
        if percent <= 0:
            if position is None:
                return Decision(coin, Action.HOLD, reasoning=f"{said}. Holding: the coin has no weight in the pool.")
            return Decision(coin, Action.CLOSE, reasoning=f"{said}. Closing only: the coin has no weight in the pool.")
        return Decision(coin, action, view.leverage, percent, reasoning=f"{said}.")

    def _action(self, signal: int, position: Position | None) -> tuple[Action, str]:
        wanted = Side.LONG if signal > 0 else Side.SHORT
        if position is not None and position.side is wanted:
            return Action.HOLD, f"already {wanted}"
        if self._direction in ("both", wanted):
            return (Action.LONG if wanted is Side.LONG else Action.SHORT), ""
        if position is not None:
            return Action.CLOSE, ""
        return Action.HOLD, f"the strategy trades {self._direction} only"

    def _silence(self, bars: Bars) -> str:
        if len(bars) < self._program.warmup:
            return f"Warming up: {len(bars)} of {self._program.warmup} bars."
        return "No signal on this bar."


def newest(bars: Bars, count: int) -> Bars:
    """The last `count` bars; no copy."""
    return bars[len(bars) - count :] if len(bars) > count else bars


def _word(signal: int) -> str:
    return "Buy" if signal > 0 else "Sell"
