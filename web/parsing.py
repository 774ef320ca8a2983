"""From a request to values: JSON bodies and query strings, checked once, on entry."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from flask import g, request
from flask_babel import gettext as _
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from domain.errors import InvalidValue, field_path
from web.openapi import current_operation
from web.schemas import COIN_SYMBOL_PATTERN, INT64_MAX, Query

# Far deeper than any rule set; keeps recursive code below safe from a body made of brackets.
MAX_DEPTH = 40

# NUL cannot be stored by PostgreSQL, a lone surrogate by nobody.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

M = TypeVar("M", bound=BaseModel)
Q = TypeVar("Q", bound=Query)


def _refuse_token(token: str) -> NoReturn:
    raise ValueError(f"{token} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _value in pairs]
        raise ValueError(f"'{next(name for name in names if names.count(name) > 1)}' is there twice")
    return found


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text; BadRequest (400) where it is not one, or one that is nested absurdly."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse_token, object_pairs_hook=_object)
    except RecursionError as error:
        raise BadRequest(_("The JSON is nested too deeply; send a flatter one.")) from error
    except ValueError as error:
        raise BadRequest(_("The body is not valid JSON: %(why)s.", why=str(error))) from error
    if _depth(value) > MAX_DEPTH:
        raise BadRequest(_("The JSON is nested too deeply; send a flatter one."))
    return value


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [child for item in level for child in _children(item)]
    return depth


def _check_storable(value: Any, where: str) -> None:
    """InvalidValue for texts and numbers that no database could keep, wherever in the value they are."""
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            raise InvalidValue(
                _("Remove the invisible character that is not text (NUL or half of one)."), field=where or None
            )
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValue(_("The number is too large."), field=where or None)
    elif isinstance(value, int) and abs(value) > INT64_MAX:
        raise InvalidValue(_("The number is too large."), field=where or None)
    elif isinstance(value, dict):
        for key, child in value.items():
            _check_storable(key, where)
            _check_storable(child, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check_storable(child, f"{where}.{index}" if where else str(index))


def has_body() -> bool:
    return bool(request.content_length) or "chunked" in request.headers.get("Transfer-Encoding", "").lower()


def check_body(*, is_upload: bool) -> None:
    """Reads the body of a state change before its route does, so that no route can take a wrong one as empty."""
    g.json = None
    if is_upload or not has_body():
        return
    if not request.is_json:
        raise UnsupportedMediaType(_("Send JSON, with the header Content-Type: application/json."))
    g.json = parse_json(request.get_data())
    _check_storable(g.json, "")


def body(model: type[M]) -> M:
    """The request's JSON body as `model`: 400 where there is none, 422 naming the field where it is wrong.

    A route that is documented with `is_body_optional` gets the defaults where there is none.
    """
    if not has_body():
        operation = current_operation()
        if operation is not None and operation.is_body_optional:
            return _validated(model, {}, is_json=True)
        raise BadRequest(_("A JSON object is expected in the body."))
    if not isinstance(g.json, dict):
        raise InvalidValue(_("A JSON object is expected in the body."))
    return _validated(model, g.json, is_json=True)


def query(model: type[Q]) -> Q:
    """The request's query string as `model`; 422 naming the parameter where it is wrong."""
    found: dict[str, Any] = {}
    for name, values in request.args.lists():
        given = [value for value in values if value != ""]
        if len(given) > 1:
            raise InvalidValue(_("'%(name)s' is given more than once.", name=name), field=name)
        if given:
            found[name] = given[0]
    _check_storable(found, "")
    return _validated(model, found, is_json=False)


def _validated(model: type[M], data: dict[str, Any], *, is_json: bool) -> M:
    try:
        # Strict JSON mode, unlike strict Python mode, still reads enums and dates from their texts.
        return model.model_validate_json(json.dumps(data)) if is_json else model.model_validate(data)
    except ValidationError as error:
        raise invalid(error, model) from error


def invalid(error: ValidationError, model: type[BaseModel] | None = None) -> InvalidValue:
    """The first complaint of pydantic in the contract's shape."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = field_path(first["loc"])
    kind = first["type"]
    if kind == "extra_forbidden":
        known = ", ".join(model.model_fields) if model and len(first["loc"]) == 1 else ""
        text = _("'%(name)s' is not known here.", name=field)
        return InvalidValue(f"{text} {_('Known are: %(names)s.', names=known)}" if known else text, field=field)
    if kind == "missing":
        return InvalidValue(_("'%(name)s' is missing.", name=field), field=field)
    why = _words(kind, first.get("ctx", {})) or first["msg"].removeprefix("Value error, ")
    return InvalidValue(_("'%(name)s' is not valid: %(why)s.", name=field or _("body"), why=why), field=field)


def _words(kind: str, limits: Mapping[str, Any]) -> str | None:
    """What people are told of the most frequent complaints; pydantic's own words speak of inputs and patterns."""

    def bound(name: str) -> str:
        value = limits[name]
        return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"

    match kind, limits.get("pattern"):
        case "greater_than_equal", _any:
            return str(_("use %(n)s or more", n=bound("ge")))
        case "less_than_equal", _any:
            return str(_("use %(n)s or less", n=bound("le")))
        case "greater_than", _any:
            return str(_("use more than %(n)s", n=bound("gt")))
        case "less_than", _any:
            return str(_("use less than %(n)s", n=bound("lt")))
        case "string_too_long", _any:
            return str(_("use %(n)s characters at most", n=bound("max_length")))
        case "string_pattern_mismatch", r"\S":
            return str(_("it must not be blank"))
        case "string_pattern_mismatch", pattern if pattern == COIN_SYMBOL_PATTERN:
            return str(_("use 1 to 20 letters, digits, . - _"))
    return None
