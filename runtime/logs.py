"""Logs: one line an event, without secrets whatever a caller hands over."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

HIDDEN = "[hidden]"

_SECRET_NAME = re.compile(r"key|secret|passw|passphrase|token|authorization|cookie|credential|signature", re.IGNORECASE)
# Names that hold such a word and no secret.
_HARMLESS = frozenset({"key_id", "tokens", "max_tokens", "series_key", "keys", "token_id", "key_file"})
# In addresses and in the messages of HTTP libraries.
_SECRET_TEXT = re.compile(
    r"(?P<name>(?:api[_-]?key|secret|passphrase|password|token|signature|authorization|bearer)[\"']?\s*[=:\s]\s*[\"']?)"
    r"(?P<value>(?:bearer\s+)?[^\s\"'&,;)}\]]{6,})",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.\-]*://[^\s:/@]*):[^\s@]+@", re.IGNORECASE)

# They log every address they call, keys in the query included, or much that nobody reads.
_QUIET = ("httpx", "httpcore", "urllib3", "websockets", "apscheduler", "numba", "engineio", "socketio", "alembic")


def _clean_text(text: str) -> str:
    return _URL_PASSWORD.sub(rf"\g<scheme>:{HIDDEN}@", _SECRET_TEXT.sub(rf"\g<name>{HIDDEN}", text))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, Mapping):
        return {name: HIDDEN if _is_secret(name) else _clean(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(child) for child in value]
    return value


def _is_secret(name: object) -> bool:
    return isinstance(name, str) and name.lower() not in _HARMLESS and bool(_SECRET_NAME.search(name))


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: blanks values by their names, and what looks like a key inside texts."""
    for name, value in list(event.items()):
        if name in {"exc_info", "_record", "_from_structlog"}:
            continue
        event[name] = HIDDEN if _is_secret(name) else _clean(value)
    return event


def configure_logging(level: str = "INFO") -> None:
    """Sends structlog and the standard library's loggers to stderr in one form. Idempotent."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        hide_secrets,  # after the traceback has become text: that may quote a key too
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )  # fmt: skip
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.set_name("curlew")
    root = logging.getLogger()
    for old in [each for each in root.handlers if each.get_name() == "curlew"]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
