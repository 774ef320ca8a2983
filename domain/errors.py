"""Errors named by their consequence.

`Retryable` waits and tries again, `Refused` skips this one thing, `Misconfigured`
stops until somebody changes something. Adapters translate third-party errors at
the edge and keep the cause (`raise Retryable(...) from error`).
"""

from __future__ import annotations

from collections.abc import Iterable


class CurlewError(Exception):
    """Base of every error that Curlew raises on purpose.

    `field` names the input that was wrong, where there is one; the web turns it
    into the contract's `{"error": ..., "field": ...}`.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Retryable(CurlewError):
    """Something that may work later: a time-out, a rate limit, a venue that is down."""


class NoSource(Retryable):
    """No market source could answer (HTTP 503)."""


class Refused(CurlewError):
    """This one thing is not done, the rest goes on."""


class InvalidValue(Refused):
    """A value that was understood and is not acceptable (HTTP 422)."""


class NotFound(Refused):
    """What was asked for does not exist (HTTP 404)."""


class Conflict(Refused):
    """It contradicts what is already there (HTTP 409)."""


class BadData(Refused):
    """Market data that breaks its own rules; the message names file and line, or series and time."""


class Misconfigured(CurlewError):
    """Nothing useful can happen until a setting is changed."""


class Cancelled(CurlewError):
    """Work that was stopped because somebody asked for it."""


_BRANCHES = frozenset({"int", "str", "float", "bool"})


def field_path(location: Iterable[int | str]) -> str | None:
    """`coins.1` for where pydantic found a fault; its names for the branches of a union are nobody's input."""
    parts = [str(part) for part in location]
    kept = [part for part in parts if part not in _BRANCHES and not part.startswith(("constrained-", "function-"))]
    return ".".join(kept) or None
