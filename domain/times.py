"""Times and candle intervals.

Times are int milliseconds UTC at the edges and aware datetimes inside. A candle is
named by its open time. Days start at 00:00 UTC and weeks on Monday.
"""

from __future__ import annotations

from datetime import UTC, datetime

from domain.errors import InvalidValue

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
# The last millisecond of 9999, after which datetimes end; an open end of a span is this or None.
END_OF_TIME_MS = 253_402_300_799_999

# 1970-01-01 was a Thursday: the first Monday of the epoch is four days in.
WEEK_OFFSET_MS = 4 * DAY_MS

# Every interval that any supported venue serves, in milliseconds. Months have no
# fixed length and are not stored.
INTERVALS_MS: dict[str, int] = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": WEEK_MS,
}


def interval_ms(interval: str) -> int:
    """Length of `interval` in milliseconds; InvalidValue for an unknown name."""
    try:
        return INTERVALS_MS[interval]
    except KeyError:
        known = ", ".join(INTERVALS_MS)
        raise InvalidValue(f"unknown interval '{interval}'; use one of {known}", field="interval") from None


def floor_ms(time_ms: int, step_ms: int) -> int:
    """Open time of the bar of length `step_ms` that contains `time_ms`; weeks open on Monday."""
    offset = WEEK_OFFSET_MS if step_ms == WEEK_MS else 0
    return (time_ms - offset) // step_ms * step_ms + offset


def ceil_ms(time_ms: int, step_ms: int) -> int:
    """First bar open at or after `time_ms`."""
    return floor_ms(time_ms + step_ms - 1, step_ms)


def to_ms(moment: datetime) -> int:
    """Aware datetime to int milliseconds UTC."""
    if moment.tzinfo is None:
        raise ValueError("a naive datetime has no place here")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return delta.days * DAY_MS + delta.seconds * SECOND_MS + delta.microseconds // 1000


def from_ms(time_ms: int) -> datetime:
    """Int milliseconds UTC to aware datetime."""
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC)
