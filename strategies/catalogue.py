"""What a rule may name: every indicator, its signals and its parameters, declared once.

Validation, the JSON Schema, the editor's menus and the compiler all read this table. Texts are
marked with `N_` for the translators; whoever shows them translates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

MAX_PERIOD = 5000

Kind = Literal["integer", "number", "integers", "choice"]


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for "mark, don't translate yet"
    return text


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. `minimum` and `maximum` are inclusive, of each item where `kind` is `integers`.

    `default` None: it has to be given. `choices` are the words that a `choice` may take.
    """

    name: str
    kind: Kind
    title: str
    description: str
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal; `params` are the parameters that it reads, the others of its indicator do nothing.

    `subject` says what is compared ("The close against the average"), where the description is general.
    """

    name: str
    title: str
    description: str
    params: tuple[str, ...]
    subject: str = ""


@dataclass(frozen=True, slots=True)
class IndicatorSpec:
    name: str
    title: str
    description: str
    params: tuple[Param, ...]
    signals: tuple[Signal, ...]

    def param(self, name: str) -> Param:
        return next(param for param in self.params if param.name == name)

    def signal(self, name: str) -> Signal | None:
        return next((signal for signal in self.signals if signal.name == name), None)


def _period(default: int, description: str, minimum: int = 1) -> Param:
    return Param("period", "integer", N_("Period"), description, default, minimum, MAX_PERIOD)


def _periods(default: tuple[int, ...], description: str) -> Param:
    return Param("periods", "integers", N_("Periods"), description, default, 1, MAX_PERIOD)


def _number(name: str, title: str, description: str, default: float, low: float, high: float) -> Param:
    return Param(name, "number", title, description, default, low, high)


def _against(subject: str, params: tuple[str, ...]) -> tuple[Signal, ...]:
    """The four ways to compare a value with a line."""
    rises = N_("at or below it on the bar before, above it now")
    falls = N_("at or above it on the bar before, below it now")
    return (
        Signal("cross_above", N_("Crosses above"), rises, params, subject),
        Signal("cross_below", N_("Crosses below"), falls, params, subject),
        Signal("above", N_("Is above"), N_("above it"), params, subject),
        Signal("below", N_("Is below"), N_("below it"), params, subject),
    )


def _crosses(subject: str, params: tuple[str, ...]) -> tuple[Signal, ...]:
    rises = N_("at or below it on the bar before, above it now")
    falls = N_("at or above it on the bar before, below it now")
    return (
        Signal("golden_cross", N_("Golden cross"), rises, params, subject),
        Signal("death_cross", N_("Death cross"), falls, params, subject),
    )


def _extremes(base: tuple[str, ...]) -> tuple[Signal, ...]:
    return (
        Signal("overbought", N_("Overbought"), N_("The value is at or above the high level"), (*base, "high")),
        Signal("oversold", N_("Oversold"), N_("The value is at or below the low level"), (*base, "low")),
    )


def _divergences(params: tuple[str, ...]) -> tuple[Signal, ...]:
    return (
        Signal(
            "bullish_divergence",
            N_("Bullish divergence"),
            N_(
                "The price makes a lower low while the indicator makes a higher one. Signals on the bar that "
                "confirms the second low, five bars after it; the two lows lie at most 60 bars apart"
            ),
            params,
        ),
        Signal(
            "bearish_divergence",
            N_("Bearish divergence"),
            N_(
                "The price makes a higher high while the indicator makes a lower one. Signals on the bar that "
                "confirms the second high, five bars after it; the two highs lie at most 60 bars apart"
            ),
            params,
        ),
    )


def _average(name: str, title: str, description: str) -> IndicatorSpec:
    return IndicatorSpec(
        name,
        title,
        description,
        (
            Param("fast", "integer", N_("Fast period"), N_("Bars of the shorter average"), 20, 1, MAX_PERIOD),
            Param("slow", "integer", N_("Slow period"), N_("Bars of the longer average"), 60, 1, MAX_PERIOD),
            _period(20, N_("Bars of the average that the close is compared with")),
            _periods((5, 10, 20, 60), N_("Bars of the averages that have to stand in order")),
        ),
        (
            *_crosses(N_("The fast average against the slow one"), ("fast", "slow")),
            *_against(N_("The close against the average"), ("period",)),
            Signal(
                "bullish_alignment",
                N_("Bullish alignment"),
                N_("The averages stand in order, the shortest on top"),
                ("periods",),
            ),
            Signal(
                "bearish_alignment",
                N_("Bearish alignment"),
                N_("The averages stand in order, the shortest at the bottom"),
                ("periods",),
            ),
        ),
    )


_MACD_PARAMS = ("fast", "slow", "signal")
_BANDS = ("upper", "middle", "lower")

# fmt: off
PATTERNS: tuple[str, ...] = (
    "CDL2CROWS", "CDL3BLACKCROWS", "CDL3INSIDE", "CDL3LINESTRIKE", "CDL3OUTSIDE", "CDL3STARSINSOUTH",
    "CDL3WHITESOLDIERS", "CDLABANDONEDBABY", "CDLADVANCEBLOCK", "CDLBELTHOLD", "CDLBREAKAWAY", "CDLCLOSINGMARUBOZU",
    "CDLCONCEALBABYSWALL", "CDLCOUNTERATTACK", "CDLDARKCLOUDCOVER", "CDLDOJI", "CDLDOJISTAR", "CDLDRAGONFLYDOJI",
    "CDLENGULFING", "CDLEVENINGDOJISTAR", "CDLEVENINGSTAR", "CDLGAPSIDESIDEWHITE", "CDLGRAVESTONEDOJI", "CDLHAMMER",
    "CDLHANGINGMAN", "CDLHARAMI", "CDLHARAMICROSS", "CDLHIGHWAVE", "CDLHIKKAKE", "CDLHIKKAKEMOD", "CDLHOMINGPIGEON",
    "CDLIDENTICAL3CROWS", "CDLINNECK", "CDLINVERTEDHAMMER", "CDLKICKING", "CDLKICKINGBYLENGTH", "CDLLADDERBOTTOM",
    "CDLLONGLEGGEDDOJI", "CDLLONGLINE", "CDLMARUBOZU", "CDLMATCHINGLOW", "CDLMATHOLD", "CDLMORNINGDOJISTAR",
    "CDLMORNINGSTAR", "CDLONNECK", "CDLPIERCING", "CDLRICKSHAWMAN", "CDLRISEFALL3METHODS", "CDLSEPARATINGLINES",
    "CDLSHOOTINGSTAR", "CDLSHORTLINE", "CDLSPINNINGTOP", "CDLSTALLEDPATTERN", "CDLSTICKSANDWICH", "CDLTAKURI",
    "CDLTASUKIGAP", "CDLTHRUSTING", "CDLTRISTAR", "CDLUNIQUE3RIVER", "CDLUPSIDEGAP2CROWS", "CDLXSIDEGAP3METHODS",
)
# fmt: on

INDICATORS: tuple[IndicatorSpec, ...] = (
    _average("MA", N_("Moving average (simple)"), N_("Mean of the last closes: shows the trend, late but steady")),
    _average(
        "EMA", N_("Moving average (exponential)"), N_("Mean with more weight on recent closes: turns sooner than MA")
    ),
    IndicatorSpec(
        "MACD",
        "MACD",
        N_("Distance between two exponential averages (the line) and its own average (the signal line): momentum"),
        (
            Param("fast", "integer", N_("Fast period"), N_("Bars of the shorter average"), 12, 2, MAX_PERIOD),
            Param("slow", "integer", N_("Slow period"), N_("Bars of the longer average"), 26, 3, MAX_PERIOD),
            Param("signal", "integer", N_("Signal period"), N_("Bars of the signal line"), 9, 1, MAX_PERIOD),
        ),
        (
            *_crosses(N_("The MACD line against the signal line"), _MACD_PARAMS),
            *_against(N_("The MACD line against zero"), _MACD_PARAMS),
            *_divergences(_MACD_PARAMS),
        ),
    ),
    IndicatorSpec(
        "KDJ",
        "KDJ",
        N_("Where the close stands between the highest high and the lowest low, smoothed twice (K, then D)"),
        (
            Param("n", "integer", N_("Window"), N_("Bars of the high-low range"), 9, 1, MAX_PERIOD),
            Param("k", "integer", N_("K smoothing"), N_("Smoothing of K"), 3, 1, MAX_PERIOD),
            Param("d", "integer", N_("D smoothing"), N_("Smoothing of D"), 3, 1, MAX_PERIOD),
            _number("low", N_("Low level"), N_("K at or below it is oversold"), 20, 0, 100),
            _number("high", N_("High level"), N_("K at or above it is overbought"), 80, 0, 100),
        ),
        (*_crosses(N_("K against D"), ("n", "k", "d")), *_extremes(("n", "k", "d"))),
    ),
    IndicatorSpec(
        "BOLL",
        N_("Bollinger bands"),
        N_("Simple average with bands at a number of standard deviations (population) above and below"),
        (
            _period(20, N_("Bars of the average and of the deviation"), 2),
            _number("stddev", N_("Deviations"), N_("Width of the bands in standard deviations"), 2, 0.01, 20),
            Param(
                "band",
                "choice",
                N_("Band"),
                N_("The line that the close is compared with"),
                "middle",
                None,
                None,
                _BANDS,
            ),
        ),
        (
            *_against(N_("The close against the band"), ("period", "stddev", "band")),
            Signal(
                "breakout_up", N_("Breakout up"), N_("The close crosses above the upper band"), ("period", "stddev")
            ),
            Signal(
                "breakout_down", N_("Breakout down"), N_("The close crosses below the lower band"), ("period", "stddev")
            ),
        ),
    ),
    IndicatorSpec(
        "RSI",
        "RSI",
        N_("Share of the gains in all recent moves (Wilder), from 0 to 100"),
        (
            _period(14, N_("Bars of the smoothing"), 2),
            _number("low", N_("Low level"), N_("At or below it is oversold"), 30, 0, 100),
            _number("high", N_("High level"), N_("At or above it is overbought"), 70, 0, 100),
            _number("level", N_("Level"), N_("The level of the crossing signals"), 50, 0, 100),
        ),
        (
            *_extremes(("period",)),
            *_against(N_("RSI against the level"), ("period", "level")),
            *_divergences(("period",)),
        ),
    ),
    IndicatorSpec(
        "BBI",
        "BBI",
        N_("Bull and bear index: the mean of several simple averages"),
        (_periods((3, 6, 12, 24), N_("Bars of the averages")),),
        _against(N_("The close against BBI"), ("periods",)),
    ),
    IndicatorSpec(
        "CCI",
        "CCI",
        N_("Distance of the typical price from its mean, in mean deviations"),
        (
            _period(14, N_("Bars of the mean"), 2),
            _number("low", N_("Low level"), N_("At or below it is oversold"), -100, -10000, 10000),
            _number("high", N_("High level"), N_("At or above it is overbought"), 100, -10000, 10000),
            _number("level", N_("Level"), N_("The level of the crossing signals"), 0, -10000, 10000),
        ),
        (
            *_extremes(("period",)),
            *_against(N_("CCI against the level"), ("period", "level")),
            *_divergences(("period",)),
        ),
    ),
    IndicatorSpec(
        "ATR",
        "ATR",
        N_("Average true range (Wilder): how far a bar usually travels"),
        (
            _period(14, N_("Bars of the smoothing")),
            _number("factor", N_("Factor"), N_("How many ranges make a breakout"), 1, 0.01, 1000),
        ),
        (
            Signal(
                "breakout_up",
                N_("Breakout up"),
                N_("The close is above the previous close by more than factor x the previous bar's ATR"),
                ("period", "factor"),
            ),
            Signal(
                "breakout_down",
                N_("Breakout down"),
                N_("The close is below the previous close by more than factor x the previous bar's ATR"),
                ("period", "factor"),
            ),
        ),
    ),
    IndicatorSpec(
        "VOLUME",
        N_("Volume"),
        N_("The bar's volume against the mean of the bars before it"),
        (
            _period(20, N_("Bars of the mean, this one not included")),
            _number("factor", N_("Factor"), N_("How many times the mean"), 2, 0.01, 1000),
        ),
        (
            Signal(
                "above",
                N_("Is above"),
                N_("The volume is over factor x the mean of the bars before"),
                ("period", "factor"),
            ),
        ),
    ),
    IndicatorSpec(
        "PATTERN",
        N_("Candlestick pattern"),
        N_("A candlestick pattern as TA-Lib recognises it"),
        (Param("name", "choice", N_("Pattern"), N_("TA-Lib's name of the pattern"), None, None, None, PATTERNS),),
        (
            Signal("bullish", N_("Bullish"), N_("The pattern appears as a bullish one"), ("name",)),
            Signal("bearish", N_("Bearish"), N_("The pattern appears as a bearish one"), ("name",)),
        ),
    ),
)

BY_NAME: dict[str, IndicatorSpec] = {spec.name: spec for spec in INDICATORS}
