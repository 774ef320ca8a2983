"""Curlew: rule set to signals, the kernel, trades and metrics, as a backtest does."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from worker import CAPITAL, FEE_RATE, STEP_NS, Candles, Outcome, Task, serve

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from domain.market import Bars
from simulation.kernel import simulate
from simulation.metrics import summarize
from simulation.result import CoinInput, SimInput
from strategies.ruleset import parse_ruleset
from strategies.signals import compile_ruleset


def when(kind: str, signal: str, **params: float) -> dict[str, object]:
    return {"indicator_type": kind, "signal_type": signal, "params": params}


def all_of(*conditions: dict[str, object]) -> dict[str, object]:
    return {"logic": "AND", "conditions": list(conditions)}


SMA_CROSS = {
    "name": "SMA 20/60",
    "direction": "long",
    "buy_groups": [all_of(when("MA", "golden_cross", fast=20, slow=60))],
    "sell_groups": [all_of(when("MA", "death_cross", fast=20, slow=60))],
}
THREE_INDICATORS = {
    "name": "RSI, MACD and BOLL",
    "direction": "long",
    "buy_groups": [
        all_of(when("MACD", "golden_cross"), when("RSI", "below", level=50)),
        all_of(when("BOLL", "below", band="lower"), when("RSI", "oversold", low=30)),
    ],
    "sell_groups": [
        all_of(when("MACD", "death_cross"), when("RSI", "above", level=50)),
        all_of(when("BOLL", "above", band="upper"), when("RSI", "overbought", high=70)),
    ],
}


def task(ruleset: dict[str, object], stop_percent: float = 0.0, target_percent: float = 0.0) -> Task:
    program = compile_ruleset(parse_ruleset(ruleset))

    def run(candles: Candles) -> Outcome:
        columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
        bars = Bars(candles.time_ms, *columns)
        result = simulate(
            SimInput(
                (CoinInput("X", bars, program.signals(bars)),),
                step_ms=STEP_NS // 1_000_000,
                initial_capital=CAPITAL,
                fee_rate=FEE_RATE,
                stop_loss_percent=stop_percent,
                take_profit_percent=target_percent,
            )
        )
        summarize(result)
        assert result.equity is not None
        return Outcome(result.equity[-1], len(result.trades), result.max_drawdown)

    return run


if __name__ == "__main__":
    tasks = {"T1": task(SMA_CROSS), "T3": task(THREE_INDICATORS, stop_percent=5.0, target_percent=10.0)}
    serve(tasks, {name: version(name) for name in ("numba", "TA-Lib", "numpy")})
