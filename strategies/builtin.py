"""The strategies that a new workspace starts with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from strategies.catalogue import N_
from strategies.ruleset import RuleSet, parse_ruleset

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Builtin:
    """A ready strategy; the name is that of its rule set."""

    ruleset: RuleSet
    description: str

    @property
    def name(self) -> str:
        return self.ruleset.name


def _rule(indicator: str, signal: str, **params: Any) -> Json:
    return {"indicator_type": indicator, "signal_type": signal, "params": params}


def _all(*conditions: Json) -> Json:
    return {"logic": "AND", "conditions": list(conditions)}


def _builtin(name: str, direction: str, description: str, buy: list[Json], sell: list[Json]) -> Builtin:
    ruleset = parse_ruleset({"name": name, "direction": direction, "buy_groups": buy, "sell_groups": sell})
    return Builtin(ruleset, description)


BUILTIN: tuple[Builtin, ...] = (
    _builtin(
        "SMA cross 20/60",
        "long",
        N_(
            "The classic trend follower. Long while the 20-bar average is above the 60-bar average. Earns in long "
            "moves, gives some of it back in sideways markets; slow enough that fees matter little on 1h and above."
        ),
        [_all(_rule("MA", "golden_cross", fast=20, slow=60))],
        [_all(_rule("MA", "death_cross", fast=20, slow=60))],
    ),
    _builtin(
        "EMA trend with MACD",
        "both",
        N_(
            "Trades with the trend only. Long when MACD turns up above the 100-bar exponential average, short when it "
            "turns down below it. For trending markets, long and short; the average keeps it out of counter-moves."
        ),
        [_all(_rule("MACD", "golden_cross"), _rule("EMA", "above", period=100))],
        [_all(_rule("MACD", "death_cross"), _rule("EMA", "below", period=100))],
    ),
    _builtin(
        "RSI reversion",
        "long",
        N_(
            "Buys weakness in a healthy market: RSI comes back up through 30 while the price is above its 200-bar "
            "average. Sells when RSI reaches 65. Many small gains; a stop-loss belongs to it."
        ),
        [_all(_rule("RSI", "cross_above", period=14, level=30), _rule("MA", "above", period=200))],
        [_all(_rule("RSI", "overbought", period=14, high=65))],
    ),
    _builtin(
        "Bollinger reversion",
        "long",
        N_(
            "Bets on the way back to the mean: buys when the close returns above the lower band, sells at the middle "
            "band. For sideways markets; loses when a band is the start of a trend, so give it a stop-loss."
        ),
        [_all(_rule("BOLL", "cross_above", period=20, stddev=2, band="lower"))],
        [_all(_rule("BOLL", "cross_above", period=20, stddev=2, band="middle"))],
    ),
    _builtin(
        "Bollinger breakout",
        "both",
        N_(
            "Follows strength: long when the close breaks above the upper band of 50 bars, short when it breaks below "
            "the lower one. For volatile markets that run; the wide window keeps the small swings out."
        ),
        [_all(_rule("BOLL", "breakout_up", period=50, stddev=2))],
        [_all(_rule("BOLL", "breakout_down", period=50, stddev=2))],
    ),
    _builtin(
        "MACD and RSI momentum",
        "both",
        N_(
            "Two witnesses for one move: MACD turns up while RSI is above 50, or RSI crosses 50 while the MACD line is "
            "positive; the mirror image for shorts. Quicker than an average cross and choosier than MACD alone."
        ),
        [
            _all(_rule("MACD", "golden_cross"), _rule("RSI", "above", period=14, level=50)),
            _all(_rule("RSI", "cross_above", period=14, level=50), _rule("MACD", "above")),
        ],
        [
            _all(_rule("MACD", "death_cross"), _rule("RSI", "below", period=14, level=50)),
            _all(_rule("RSI", "cross_below", period=14, level=50), _rule("MACD", "below")),
        ],
    ),
)
