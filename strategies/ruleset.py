"""The rule set of a strategy: its shape, its validation and its JSON Schema.

`parse_ruleset` is the only way in. What it returns is complete (defaults filled in), frozen and
known to compile; what it refuses it refuses with `InvalidValue`, whose `field` is a dotted path
such as `buy_groups.0.conditions.1.params.period`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from domain.errors import InvalidValue
from strategies.catalogue import BY_NAME, INDICATORS, N_, IndicatorSpec, Param

MAX_GROUPS = 20
MAX_CONDITIONS = 20
MAX_PERIODS = 10
MAX_NAME = 100

Translate = Callable[[str], str]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Condition(_Frozen):
    """One test on one bar. `params` holds what the signal reads, defaults filled in, and what was given."""

    indicator_type: StrictStr
    signal_type: StrictStr
    params: dict[StrictStr, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        kind, signal, params = data.get("indicator_type"), data.get("signal_type"), data.get("params", {})
        if not (isinstance(kind, str) and isinstance(signal, str) and isinstance(params, Mapping)):
            return data
        return {**data, "params": _check_condition(kind, signal, params)}


class Group(_Frozen):
    """Conditions joined by `logic`."""

    logic: Literal["AND", "OR"] = "AND"
    conditions: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=MAX_CONDITIONS)]


class RuleSet(_Frozen):
    """Groups are joined by OR; a side without groups never signals."""

    name: StrictStr
    direction: Literal["long", "short", "both"] = "long"
    buy_groups: Annotated[tuple[Group, ...], Field(max_length=MAX_GROUPS)] = ()
    sell_groups: Annotated[tuple[Group, ...], Field(max_length=MAX_GROUPS)] = ()

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        name = value.strip()
        if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
            raise PydanticCustomError("name", "give it a name of 1 to 100 printable characters")
        return name

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; `parse_ruleset` of it gives an equal rule set."""
        return self.model_dump(mode="json")

    def renamed(self, name: str) -> Self:
        return self.model_copy(update={"name": name})


def parse_ruleset(data: RuleSet | Mapping[str, Any]) -> RuleSet:
    """A complete rule set from decoded JSON; InvalidValue names the first field that is wrong."""
    if isinstance(data, RuleSet):
        return data
    if not isinstance(data, Mapping):
        raise InvalidValue("a rule set is an object with name, direction, buy_groups and sell_groups")
    try:
        return RuleSet.model_validate(dict(data))
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0]) from error


# -- conditions against the catalogue -----------------------------------------------------


def _wrong(at: str, message: str) -> PydanticCustomError:
    # `at` completes the path: pydantic itself only knows that the condition is wrong. The message is
    # passed as a value because the template would read braces in what the user typed.
    return PydanticCustomError("condition", "{text}", {"text": message, "at": at})


def _check_condition(kind: str, signal_name: str, given: Mapping[Any, Any]) -> dict[str, Any]:
    spec = BY_NAME.get(kind)
    if spec is None:
        raise _wrong("indicator_type", f"unknown indicator {_shown(kind)}; use one of {_listed(BY_NAME)}")
    signal = spec.signal(signal_name)
    if signal is None:
        known = _listed(each.name for each in spec.signals)
        raise _wrong("signal_type", f"{kind} has no signal {_shown(signal_name)}; use one of {known}")
    known_params = [param.name for param in spec.params]
    for name in given:
        if name not in known_params:
            text = f"{kind} has no parameter {_shown(name)}; it has {_listed(known_params)}"
            raise _wrong(f"params.{str(name)[:60]}", text)
    params: dict[str, Any] = {}
    for param in spec.params:
        if param.name in given:
            params[param.name] = _check_value(param, given[param.name])
        elif param.name in signal.params:
            if param.default is None:
                raise _wrong(f"params.{param.name}", f"is missing; {_expected(param)}")
            params[param.name] = list(param.default) if param.kind == "integers" else param.default
    _check_order(params, signal.params, given)
    return params


def _check_order(params: Mapping[str, Any], used: tuple[str, ...], given: Mapping[Any, Any]) -> None:
    if "fast" in used and params["fast"] >= params["slow"]:
        at = "fast" if "fast" in given else "slow"
        message = f"fast ({params['fast']}) has to be shorter than slow ({params['slow']})"
        raise _wrong(f"params.{at}", message)
    if "low" in given and "high" in given and params["low"] >= params["high"]:
        raise _wrong("params.low", f"low ({params['low']}) has to be less than high ({params['high']})")


def _check_value(param: Param, value: Any) -> Any:
    at = f"params.{param.name}"
    if param.kind == "choice":
        if not isinstance(value, str) or value not in param.choices:
            raise _wrong(at, f"{_expected(param)}, not {_shown(value)}")
        return value
    if param.kind == "integers":
        return _check_integers(param, value)
    whole = param.kind == "integer"
    if not _is_number(value, whole) or not _within(param, value):
        raise _wrong(at, f"{_expected(param)}, not {_shown(value)}")
    return value


def _check_integers(param: Param, value: Any) -> list[int]:
    at = f"params.{param.name}"
    if not isinstance(value, (list, tuple)) or not 2 <= len(value) <= MAX_PERIODS:
        raise _wrong(at, f"{_expected(param)}, not {_shown(value)}")
    for position, item in enumerate(value):
        if not _is_number(item, True) or not _within(param, item):
            text = f"use a whole number from {param.minimum:g} to {param.maximum:g}, not {_shown(item)}"
            raise _wrong(f"{at}.{position}", text)
    if len(set(value)) != len(value):
        raise _wrong(at, f"each period counts once, not {_shown(value)}")
    return list(value)


def _is_number(value: Any, whole: bool) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return True
    return not whole and isinstance(value, float) and math.isfinite(value)


def _within(param: Param, value: float) -> bool:
    return (param.minimum is None or value >= param.minimum) and (param.maximum is None or value <= param.maximum)


def _expected(param: Param) -> str:
    if param.kind == "choice":
        # Sixty pattern names help nobody in one line.
        short = len(param.choices) < 10
        return f"use one of {_listed(param.choices)}" if short else "use a name from the schema's list"
    span = f"from {param.minimum:g} to {param.maximum:g}"
    if param.kind == "integers":
        return f"use a list of 2 to {MAX_PERIODS} different whole numbers {span}"
    return f"use a whole number {span}" if param.kind == "integer" else f"use a number {span}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


# -- errors -------------------------------------------------------------------------------

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of a rule set; remove it",
    "literal_error": "use one of {expected}",
    "string_type": "use a text",
    "dict_type": "use an object",
    "model_type": "use an object",
    "tuple_type": "use a list",
    "too_short": "needs at least one condition; remove the group or add a condition",
    "too_long": "has too many entries; use at most {max_length}",
}


def _refusal(detail: ErrorDetails) -> InvalidValue:
    context = detail.get("ctx", {})
    path = [str(part) for part in detail["loc"]]
    if "at" in context:
        path.append(str(context["at"]))
    field = ".".join(path)
    template = _WORDS.get(detail["type"])
    if template is None:
        text = "use an object" if detail["type"] == "model_attributes_type" else detail["msg"]
    else:
        values = {key: str(value) for key, value in context.items()}
        text = template.format_map({"expected": "", "max_length": "", **values})
    return InvalidValue(f"{field}: {text}" if field else text, field=field or None)


# -- schema -------------------------------------------------------------------------------


def json_schema(translate: Translate = str) -> dict[str, Any]:
    """JSON Schema (2020-12) of a rule set: every indicator, signal and parameter with its texts.

    Conditions are a `oneOf` told apart by `indicator_type`. Each signal carries `x-params`, the
    parameters that it reads, so that an editor can show those alone.
    """
    groups = {"type": "array", "items": {"$ref": "#/$defs/group"}, "maxItems": MAX_GROUPS, "default": []}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": translate(N_("Rule set")),
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "title": translate(N_("Name")), "minLength": 1, "maxLength": MAX_NAME},
            "direction": {
                "title": translate(N_("Direction")),
                "description": translate(N_("Which positions it may hold")),
                "enum": ["long", "short", "both"],
                "default": "long",
            },
            "buy_groups": {**groups, "title": translate(N_("Buy when any of these groups holds"))},
            "sell_groups": {**groups, "title": translate(N_("Sell when any of these groups holds"))},
        },
        "$defs": {
            "group": _group_schema(translate),
            "condition": {
                "oneOf": [{"$ref": f"#/$defs/{spec.name}"} for spec in INDICATORS],
                "discriminator": {
                    "propertyName": "indicator_type",
                    "mapping": {spec.name: f"#/$defs/{spec.name}" for spec in INDICATORS},
                },
            },
            **{spec.name: _indicator_schema(spec, translate) for spec in INDICATORS},
        },
    }


def _group_schema(translate: Translate) -> dict[str, Any]:
    return {
        "type": "object",
        "title": translate(N_("Group")),
        "additionalProperties": False,
        "required": ["conditions"],
        "properties": {
            "logic": {
                "title": translate(N_("Logic")),
                "description": translate(N_("AND: all conditions hold on the same bar; OR: any of them")),
                "enum": ["AND", "OR"],
                "default": "AND",
            },
            "conditions": {
                "title": translate(N_("Conditions")),
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_CONDITIONS,
                "items": {"$ref": "#/$defs/condition"},
            },
        },
    }


def _indicator_schema(spec: IndicatorSpec, translate: Translate) -> dict[str, Any]:
    signals = [
        {
            "const": signal.name,
            "title": translate(signal.title),
            "description": ": ".join(translate(text) for text in (signal.subject, signal.description) if text),
            "x-params": list(signal.params),
        }
        for signal in spec.signals
    ]
    needed = [param.name for param in spec.params if param.default is None]
    params: dict[str, Any] = {
        "type": "object",
        "title": translate(N_("Parameters")),
        "additionalProperties": False,
        "properties": {param.name: _param_schema(param, translate) for param in spec.params},
    }
    if needed:
        params["required"] = needed
    return {
        "type": "object",
        "title": translate(spec.title),
        "description": translate(spec.description),
        "additionalProperties": False,
        "required": ["indicator_type", "signal_type", *(["params"] if needed else [])],
        "properties": {
            "indicator_type": {"const": spec.name, "title": translate(spec.title)},
            "signal_type": {"title": translate(N_("Signal")), "oneOf": signals},
            "params": params,
        },
    }


def _param_schema(param: Param, translate: Translate) -> dict[str, Any]:
    texts = {"title": translate(param.title), "description": translate(param.description)}
    if param.kind == "choice":
        schema: dict[str, Any] = {"type": "string", **texts, "enum": list(param.choices)}
    elif param.kind == "integers":
        item = {"type": "integer", "minimum": param.minimum, "maximum": param.maximum}
        schema = {"type": "array", **texts, "items": item, "minItems": 2, "maxItems": MAX_PERIODS, "uniqueItems": True}
    else:
        schema = {"type": param.kind, **texts, "minimum": param.minimum, "maximum": param.maximum}
    if param.default is not None:
        schema["default"] = list(param.default) if param.kind == "integers" else param.default
    return schema
