"""vectorbt with vectorbt-rust, indicators by TA-Lib (its fastest combination here), numbers in full."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import talib
import vectorbt as vbt
from worker import CAPITAL, FEE_RATE, Candles, Outcome, crosses, serve, shifted

STOPS = {"sl_stop": 0.05, "tp_stop": 0.10, "stop_entry_price": "fillprice"}


def simulate(bars: Candles, buy: np.ndarray, sell: np.ndarray, **stops: Any) -> Outcome:
    """Signals of a close fill at the next open; vectorbt must be told one bar later."""
    if stops:
        stops |= {"open": bars.open, "high": bars.high, "low": bars.low}
    portfolio = vbt.Portfolio.from_signals(
        bars.close, shifted(buy), shifted(sell), price=bars.open, size=np.inf, fees=FEE_RATE, init_cash=CAPITAL,
        direction="longonly", freq="1min", **stops,
    )  # fmt: skip
    equity = portfolio.value().to_numpy()
    trades = portfolio.trades.values
    drawdown, _sharpe = portfolio.max_drawdown(), portfolio.sharpe_ratio()
    return Outcome(equity[-1], len(trades), -100.0 * drawdown)


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
    return simulate(bars, buy & ~both, sell & ~both, **STOPS)


if __name__ == "__main__":
    names = ("vectorbt", "vectorbt-rust", "TA-Lib", "numpy")
    serve({"T1": sma_cross, "T3": three_indicators}, {name: version(name) for name in names})
