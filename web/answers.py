"""From values to answers: JSON whose numbers are numbers, unrounded, and never NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from flask import Response, current_app
from pydantic import BaseModel

from domain.times import to_ms


def _plain(value: Any) -> Any:
    """What json does not know: decimals, dataclasses, pydantic models, times, numpy's numbers and arrays."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return to_ms(value)
    if isinstance(value, BaseModel):
        return value.model_dump()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    if value is None or isinstance(value, str | int):
        return value
    return _finite(_plain(value))


def to_json(value: Any) -> str:
    """JSON text; a number that is not finite becomes null."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":"))
    except ValueError:  # a NaN or infinity somewhere: rare, so only then is everything walked
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def render(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer of plain values, dataclasses, pydantic models, decimals or numpy arrays."""
    answer = current_app.response_class(to_json(value), status=status, mimetype="application/json")
    answer.headers.update(headers or {})
    return answer


def render_nothing() -> Response:
    """204, for what is gone."""
    answer = current_app.response_class(status=204)
    del answer.headers["Content-Type"]
    return answer
