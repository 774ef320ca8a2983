"""raptorbt (Rust), indicators by TA-Lib (faster than its own here)."""

from __future__ import annotations

import os
from importlib.metadata import version

os.environ["RAPTORBT_NO_VERSION_CHECK"] = "1"  # it would ask the network otherwise

import numpy as np
import raptorbt
import talib
from worker import CAPITAL, FEE_RATE, Candles, Outcome, crosses, serve


def simulate(
    bars: Candles, buy: np.ndarray, sell: np.ndarray, stops: raptorbt.InstrumentConfig | None = None
) -> Outcome:
    config = raptorbt.BacktestConfig(initial_capital=CAPITAL, fees=FEE_RATE, slippage=0.0, fill_timing="next_bar_open")
    result = raptorbt.run_single_backtest(
        bars.time_ns, bars.open, bars.high, bars.low, bars.close, bars.volume, buy, sell, 1, 1.0, "X", config,
        instrument_config=stops,
    )  # fmt: skip
    equity, trades, metrics = result.equity_curve(), result.trades(), result.metrics
    _sharpe = metrics.sharpe_ratio
    return Outcome(equity[-1], len(trades), metrics.max_drawdown_pct)


def sma_cross(bars: Candles) -> Outcome:
    return simulate(bars, *crosses(talib.SMA(bars.close, 20), talib.SMA(bars.close, 60)))


def three_indicators(bars: Candles) -> Outcome:
    rsi = talib.RSI(bars.close, 14)
    line, signal, _ = talib.MACD(bars.close, 12, 26, 9)
    upper, _, lower = talib.BBANDS(bars.close, 20, 2.0, 2.0)
    golden, death = crosses(line, signal)
    with np.errstate(invalid="ignore"):
        buy = (golden & (rsi < 50.0)) | ((bars.close < lower) & (rsi <= 30.0))
        sell = (death & (rsi > 50.0)) | ((bars.close > upper) & (rsi >= 70.0))
    both = buy & sell
    stops = raptorbt.InstrumentConfig()
    stops.set_fixed_stop(0.05)
    stops.set_fixed_target(0.10)
    return simulate(bars, buy & ~both, sell & ~both, stops)


if __name__ == "__main__":
    names = ("raptorbt", "TA-Lib", "numpy")
    serve({"T1": sma_cross, "T3": three_indicators}, {name: version(name) for name in names})
