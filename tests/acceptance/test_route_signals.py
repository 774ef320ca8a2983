"""Signals as the route trades them, against TA-Lib's values and the contract's sentences written out in numpy."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.acceptance.lab import START, Lab, group
from tests.acceptance.random_markets import differences
from tests.oracle.reference import HOUR, Candle, Coin, Rules, simulate

Columns = dict[str, np.ndarray]
Told = Callable[[Columns], np.ndarray]


def market(seed: int, count: int = 500, tick: float = 0.0) -> list[Candle]:
    """A random walk; with a tick, prices rounded to it and quiet stretches in which nothing moves."""
    rng = random.Random(seed)
    close, found = 100.1, []
    for i in range(count):
        quiet = tick > 0 and (i // 40) % 3 == 2
        opened = close
        if not quiet:
            close = max(1.0, close * (1 + rng.gauss(0, 0.01)))
            close = round(close / tick) * tick if tick else close
        high, low = max(opened, close), min(opened, close)
        if not quiet:
            high, low = high * (1 + rng.random() * 0.005), low * (1 - rng.random() * 0.005)
        found.append(Candle(START + i * HOUR, opened, high, low, close, rng.uniform(1, 100)))
    return found


def shifted(a: np.ndarray) -> np.ndarray:
    return np.concatenate(([np.nan], a[:-1]))


def golden(a: np.ndarray, b: Any) -> np.ndarray:
    b = np.broadcast_to(np.asarray(b, dtype=float), a.shape)
    return np.asarray((a > b) & (shifted(a) <= shifted(b)))


def death(a: np.ndarray, b: Any) -> np.ndarray:
    b = np.broadcast_to(np.asarray(b, dtype=float), a.shape)
    return np.asarray((a < b) & (shifted(a) >= shifted(b)))


def sma(c: Columns, period: int) -> np.ndarray:
    import talib

    return np.asarray(talib.SMA(c["close"], period))


def ema(c: Columns, period: int) -> np.ndarray:
    import talib

    return np.asarray(talib.EMA(c["close"], period))


def macd(c: Columns) -> tuple[np.ndarray, np.ndarray]:
    import talib

    line, signal, _ = talib.MACD(c["close"], 12, 26, 9)
    return line, signal


def bands(c: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import talib

    upper, middle, lower = talib.BBANDS(c["close"], 20, 2, 2, 0)
    return upper, middle, lower


def rsi(c: Columns, period: int = 14) -> np.ndarray:
    import talib

    return np.asarray(talib.RSI(c["close"], period))


def cci(c: Columns) -> np.ndarray:
    import talib

    return np.asarray(talib.CCI(c["high"], c["low"], c["close"], 14))


def atr(c: Columns) -> np.ndarray:
    import talib

    return np.asarray(talib.ATR(c["high"], c["low"], c["close"], 14))


def bbi(c: Columns) -> np.ndarray:
    return np.asarray(sum(sma(c, period) for period in (3, 6, 12, 24)) / 4)


def loud(c: Columns) -> np.ndarray:
    volume = c["volume"]
    before = np.array([volume[i - 20 : i].mean() if i >= 20 else np.nan for i in range(len(volume))])
    return np.asarray(volume > 1.5 * before)


def pattern(c: Columns, name: str) -> np.ndarray:
    import talib

    return np.asarray(getattr(talib, name)(c["open"], c["high"], c["low"], c["close"]))


Side = tuple[str, str, dict[str, Any], Told]
PAIRS: dict[str, tuple[Side, Side]] = {
    "MA crosses": (
        ("MA", "golden_cross", {"fast": 5, "slow": 20}, lambda c: golden(sma(c, 5), sma(c, 20))),
        ("MA", "death_cross", {"fast": 5, "slow": 20}, lambda c: death(sma(c, 5), sma(c, 20))),
    ),
    "MA crosses by default": (
        ("MA", "golden_cross", {}, lambda c: golden(sma(c, 20), sma(c, 60))),
        ("MA", "death_cross", {}, lambda c: death(sma(c, 20), sma(c, 60))),
    ),
    "EMA crosses": (
        ("EMA", "golden_cross", {"fast": 5, "slow": 20}, lambda c: golden(ema(c, 5), ema(c, 20))),
        ("EMA", "death_cross", {"fast": 5, "slow": 20}, lambda c: death(ema(c, 5), ema(c, 20))),
    ),
    "close across MA": (
        ("MA", "cross_above", {"period": 10}, lambda c: golden(c["close"], sma(c, 10))),
        ("MA", "cross_below", {"period": 10}, lambda c: death(c["close"], sma(c, 10))),
    ),
    "close beside EMA": (
        ("EMA", "above", {"period": 10}, lambda c: c["close"] > ema(c, 10)),
        ("EMA", "below", {"period": 10}, lambda c: c["close"] < ema(c, 10)),
    ),
    "alignment": (
        ("MA", "bullish_alignment", {"periods": [3, 8, 15]},
         lambda c: (sma(c, 3) > sma(c, 8)) & (sma(c, 8) > sma(c, 15))),
        ("MA", "bearish_alignment", {"periods": [3, 8, 15]},
         lambda c: (sma(c, 3) < sma(c, 8)) & (sma(c, 8) < sma(c, 15))),
    ),
    "MACD crosses": (
        ("MACD", "golden_cross", {}, lambda c: golden(*macd(c))),
        ("MACD", "death_cross", {}, lambda c: death(*macd(c))),
    ),
    "MACD and zero": (
        ("MACD", "cross_above", {}, lambda c: golden(macd(c)[0], 0)),
        ("MACD", "below", {}, lambda c: macd(c)[0] < 0),
    ),
    "BOLL breakouts": (
        ("BOLL", "breakout_up", {}, lambda c: golden(c["close"], bands(c)[0])),
        ("BOLL", "breakout_down", {}, lambda c: death(c["close"], bands(c)[2])),
    ),
    "BOLL bands": (
        ("BOLL", "below", {"band": "lower"}, lambda c: c["close"] < bands(c)[2]),
        ("BOLL", "cross_below", {"band": "middle"}, lambda c: death(c["close"], bands(c)[1])),
    ),
    "RSI": (
        ("RSI", "oversold", {}, lambda c: rsi(c) <= 30),
        ("RSI", "overbought", {}, lambda c: rsi(c) >= 70),
    ),
    "RSI level": (
        ("RSI", "cross_above", {"period": 7, "level": 40}, lambda c: golden(rsi(c, 7), 40)),
        ("RSI", "below", {"period": 7, "level": 35}, lambda c: rsi(c, 7) < 35),
    ),
    "BBI": (
        ("BBI", "cross_above", {}, lambda c: golden(c["close"], bbi(c))),
        ("BBI", "cross_below", {}, lambda c: death(c["close"], bbi(c))),
    ),
    "CCI": (
        ("CCI", "oversold", {}, lambda c: cci(c) <= -100),
        ("CCI", "cross_below", {"level": 50}, lambda c: death(cci(c), 50)),
    ),
    "ATR": (
        ("ATR", "breakout_up", {}, lambda c: c["close"] > shifted(c["close"]) + shifted(atr(c))),
        ("ATR", "breakout_down", {}, lambda c: c["close"] < shifted(c["close"]) - shifted(atr(c))),
    ),
    "VOLUME and a candle": (
        ("VOLUME", "above", {"factor": 1.5}, loud),
        ("PATTERN", "bearish", {"name": "CDLENGULFING"}, lambda c: pattern(c, "CDLENGULFING") < 0),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("tick", [0.0, 0.5], ids=["fine", "coarse"])
@pytest.mark.parametrize("name", PAIRS)
def test_signals(lab: Lab, name: str, tick: float) -> None:
    (buy_kind, buy_signal, buy_params, buys), (sell_kind, sell_signal, sell_params, sells) = PAIRS[name]
    candles = market(11, tick=tick)
    names = ("open", "high", "low", "close", "volume")
    columns = {word: np.array([getattr(candle, word) for candle in candles]) for word in names}
    bought, sold = buys(columns), sells(columns)
    signals = {candle.time: int(bool(b)) - int(bool(s)) for candle, b, s in zip(candles, bought, sold, strict=True)}
    strategy = {
        "name": name, "direction": "both",
        "buy_groups": [group((buy_kind, buy_signal, buy_params))],
        "sell_groups": [group((sell_kind, sell_signal, sell_params))],
    }  # fmt: skip
    coin = lab.store(candles)
    rules = Rules(direction="both", funding="none", fee=0.001)
    report = lab.run(coin, strategy, initial_capital=rules.capital, trade_fee_rate=rules.fee)
    mine = simulate([Coin(coin, candles, signals)], rules)
    assert mine.trades
    assert differences(report, mine, rules) == []


def test_groups_are_joined_by_or_and_conditions_by_their_logic(lab: Lab) -> None:
    candles = market(12)
    close = np.array([candle.close for candle in candles])
    columns = {"close": close}
    up, rising = close > sma(columns, 10), close > sma(columns, 3)
    low, high = rsi(columns) < 45, rsi(columns) > 60
    bought, sold = (up & low) | (rising & high), ~np.isnan(sma(columns, 20)) & ((close < sma(columns, 20)) | low)
    strategy = {
        "name": "groups", "direction": "long",
        "buy_groups": [
            group(("MA", "above", {"period": 10}), ("RSI", "below", {"level": 45})),
            group(("MA", "above", {"period": 3}), ("RSI", "above", {"level": 60})),
        ],
        "sell_groups": [group(("MA", "below", {"period": 20}), ("RSI", "below", {"level": 45}), logic="OR")],
    }  # fmt: skip
    signals = {candle.time: int(b) - int(s) for candle, b, s in zip(candles, bought, sold, strict=True)}
    coin = lab.store(candles[:], rates=[])
    warm = 30  # both sides know all their averages from here on
    rules = Rules(funding="none", fee=0.0, capital=1000)
    report = lab.run(coin, strategy, start_date=START + warm * HOUR)
    mine = simulate([Coin(coin, candles[warm:], signals)], rules)
    assert len(mine.trades) > 5
    assert differences(report, mine, rules) == []
