"""What every limit shares: it looks at openings only, and a refused reversal keeps its closing half."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from domain.trading import Action, Intent, MarketView, Position, Result, Side, Verdict

# Numbers closer than this are the same number: percentages that went through a division.
TOLERANCE = 1e-9


def wanted_side(intent: Intent) -> Side | None:
    """The side an intent opens or adds to; None for a reduction."""
    return {Action.LONG: Side.LONG, Action.SHORT: Side.SHORT}.get(intent.action)


def opposite_position(intent: Intent, view: MarketView) -> Position | None:
    """The position that this intent would reverse."""
    held, side = view.account.positions.get(intent.coin), wanted_side(intent)
    return held if held is not None and side is not None and held.side is not side else None


def same_position(intent: Intent, view: MarketView) -> Position | None:
    """The position that this intent would add to."""
    held, side = view.account.positions.get(intent.coin), wanted_side(intent)
    return held if held is not None and held.side is side else None


def only_the_close(intent: Intent) -> Intent:
    """What remains of a reversal whose opening half is refused."""
    return replace(
        intent,
        action=Action.CLOSE,
        position_size_percent=0.0,
        leverage=1.0,
        stop_loss_percent=0.0,
        take_profit_percent=0.0,
        trailing_stop_percent=0.0,
    )


@dataclass(frozen=True, slots=True)
class Limit(ABC):
    """One limit. Pure: the same intent and view give the same verdict."""

    limit: float

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def text(self) -> str:
        """The limit in one line, for a prompt and for the page."""

    @abstractmethod
    def judge(self, intent: Intent, view: MarketView) -> Verdict:
        """Called for openings, additions and reversals only."""

    def check(self, intent: Intent, view: MarketView) -> Verdict:
        if wanted_side(intent) is None:
            return Verdict(self.name, Result.PASS, None, None, "a reduction is never refused")
        return self.judge(intent, view)

    # -- the three answers ------------------------------------------------------------

    def passed(self, asked: float | None, allowed: float | None, reason: str) -> Verdict:
        return Verdict(self.name, Result.PASS, asked, allowed, reason)

    def clamped(self, asked: float | None, allowed: float, reason: str, adjusted: Intent) -> Verdict:
        return Verdict(self.name, Result.CLAMP, asked, allowed, reason, adjusted)

    def refused(
        self, intent: Intent, view: MarketView, asked: float | None, allowed: float | None, reason: str
    ) -> Verdict:
        """No to the opening; a reversal goes on as the close that it contains."""
        if opposite_position(intent, view) is None:
            return Verdict(self.name, Result.REFUSE, asked, allowed, reason)
        reason = f"{reason}; the position held is still closed"
        return Verdict(self.name, Result.REFUSE, asked, allowed, reason, only_the_close(intent))
