"""From the words of a rule to comparisons between lines of values.

A line is one output of an indicator (or a constant); a comparison sets two of them against each
other on one bar, or on two for a cross; a condition is one comparison or several that all hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from strategies.codes import ABOVE, AT_LEAST, AT_MOST, BELOW, CROSS_DOWN, CROSS_UP
from strategies.ruleset import Condition

CONSTANT = "constant"
PRICE = "price"


@dataclass(frozen=True, slots=True)
class Line:
    """Output number `output` of `indicator` (a name in the registry, `price` for the close, or `constant`)."""

    indicator: str
    params: tuple[Any, ...] = ()
    output: int = 0
    label: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`kind` is a code of `strategies.codes`. `text` says it where the two values would say nothing."""

    kind: int
    left: Line
    right: Line
    text: str = field(default="", compare=False)


Test = tuple[Comparison, ...]

CLOSE = Line(PRICE, label="close")
ZERO = Line(CONSTANT, (0.0,), label="zero")

_AGAINST = {"cross_above": CROSS_UP, "cross_below": CROSS_DOWN, "above": ABOVE, "below": BELOW}
_CROSSES = {"golden_cross": CROSS_UP, "death_cross": CROSS_DOWN}
_BANDS = {"upper": 0, "middle": 1, "lower": 2}


def lower(condition: Condition) -> Test:
    """The comparisons that all have to hold for this condition to hold."""
    return _LOWER[condition.indicator_type](condition.signal_type, condition.params)


def _constant(value: float, label: str) -> Line:
    return Line(CONSTANT, (float(value),), label=label)


def _average(kind: str) -> Callable[[str, Mapping[str, Any]], Test]:
    def line(period: int) -> Line:
        return Line("sma" if kind == "MA" else "ema", (period,), label=f"{kind} {period}")

    def tests(signal: str, params: Mapping[str, Any]) -> Test:
        if signal in _CROSSES:
            return (Comparison(_CROSSES[signal], line(params["fast"]), line(params["slow"])),)
        if signal in _AGAINST:
            return (Comparison(_AGAINST[signal], CLOSE, line(params["period"])),)
        order = ABOVE if signal == "bullish_alignment" else BELOW
        return tuple(Comparison(order, line(a), line(b)) for a, b in pairwise(sorted(params["periods"])))

    return tests


def _macd(signal: str, params: Mapping[str, Any]) -> Test:
    periods = (params["fast"], params["slow"], params["signal"])
    name = f"MACD {periods[0]}/{periods[1]}/{periods[2]}"
    line = Line("macd", periods, 0, name)
    if signal in _CROSSES:
        return (Comparison(_CROSSES[signal], line, Line("macd", periods, 1, "its signal line")),)
    if signal in _AGAINST:
        return (Comparison(_AGAINST[signal], line, ZERO),)
    return _divergence("macd_divergence", periods, signal, name)


def _divergence(indicator: str, params: tuple[Any, ...], signal: str, name: str) -> Test:
    bullish = signal == "bullish_divergence"
    text = f"{'bullish' if bullish else 'bearish'} divergence of {name}"
    return (Comparison(ABOVE if bullish else BELOW, Line(indicator, params), ZERO, text),)


def _levels(line: Line, signal: str, params: Mapping[str, Any]) -> Test:
    """Overbought, oversold and the four comparisons with a level."""
    if signal == "overbought":
        return (Comparison(AT_LEAST, line, _constant(params["high"], f"{params['high']:g}")),)
    if signal == "oversold":
        return (Comparison(AT_MOST, line, _constant(params["low"], f"{params['low']:g}")),)
    return (Comparison(_AGAINST[signal], line, _constant(params["level"], f"{params['level']:g}")),)


def _oscillator(kind: str) -> Callable[[str, Mapping[str, Any]], Test]:
    def tests(signal: str, params: Mapping[str, Any]) -> Test:
        period = params["period"]
        name = f"{kind} {period}"
        if signal.endswith("_divergence"):
            return _divergence(f"{kind.lower()}_divergence", (period,), signal, name)
        return _levels(Line(kind.lower(), (period,), label=name), signal, params)

    return tests


def _kdj(signal: str, params: Mapping[str, Any]) -> Test:
    windows = (params["n"], params["k"], params["d"])
    fast = Line("kdj", windows, 0, f"K {windows[0]}/{windows[1]}/{windows[2]}")
    if signal in _CROSSES:
        return (Comparison(_CROSSES[signal], fast, Line("kdj", windows, 1, "D")),)
    return _levels(fast, signal, params)


def _boll(signal: str, params: Mapping[str, Any]) -> Test:
    key = (params["period"], float(params["stddev"]))
    breakouts = {"breakout_up": (CROSS_UP, "upper"), "breakout_down": (CROSS_DOWN, "lower")}
    kind, band = breakouts[signal] if signal in breakouts else (_AGAINST[signal], params["band"])
    name = f"{band} Bollinger band ({key[0]}, {key[1]:g})"
    return (Comparison(kind, CLOSE, Line("boll", key, _BANDS[band], name)),)


def _bbi(signal: str, params: Mapping[str, Any]) -> Test:
    periods = tuple(sorted(params["periods"]))
    name = f"BBI {'/'.join(str(period) for period in periods)}"
    return (Comparison(_AGAINST[signal], CLOSE, Line("bbi", (periods,), label=name)),)


def _atr(signal: str, params: Mapping[str, Any]) -> Test:
    key = (params["period"], float(params["factor"]))
    up = signal == "breakout_up"
    name = f"the previous close {'plus' if up else 'minus'} {key[1]:g} x ATR {key[0]}"
    return (Comparison(ABOVE if up else BELOW, CLOSE, Line("atr_bands", key, 0 if up else 1, name)),)


def _volume(_signal: str, params: Mapping[str, Any]) -> Test:
    key = (params["period"], float(params["factor"]))
    name = f"{key[1]:g} x the mean of the {key[0]} bars before"
    return (Comparison(ABOVE, Line("volume", label="volume"), Line("volume_threshold", key, label=name)),)


def _pattern(signal: str, params: Mapping[str, Any]) -> Test:
    name = params["name"]
    text = f"{signal} pattern {name}"
    return (Comparison(ABOVE if signal == "bullish" else BELOW, Line("pattern", (name,)), ZERO, text),)


_LOWER: dict[str, Callable[[str, Mapping[str, Any]], Test]] = {
    "MA": _average("MA"),
    "EMA": _average("EMA"),
    "MACD": _macd,
    "KDJ": _kdj,
    "BOLL": _boll,
    "RSI": _oscillator("RSI"),
    "BBI": _bbi,
    "CCI": _oscillator("CCI"),
    "ATR": _atr,
    "VOLUME": _volume,
    "PATTERN": _pattern,
}
