"""Routes of the JSON API: how they are declared, described in OpenAPI and shown without a CDN.

bp = api_blueprint("coins")

@bp.post("")
@documented(body=CoinIn, answer=CoinOut, status=201)
def create_coin() -> Response:
    asked = body(CoinIn)
    coin = services().catalogue.create(asked.changes(), now_ms=services().clock.now_ms())
    return render(coin, 201)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args, get_origin

from flask import Blueprint, Flask, Response, current_app, render_template, request
from spectree import Response as SpecResponse
from spectree import SpecTree
from spectree.models import SecureType, SecurityScheme, SecuritySchemeData
from werkzeug.routing import Rule

from web.answers import render
from web.schemas import Error

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "__curlew_operation__"


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route of the API takes and gives; see `documented`."""

    query: Any = None
    body: Any = None
    answers: Mapping[int, Any] = field(default_factory=dict)
    produces: str = "application/json"
    upload: Mapping[str, str] | None = None
    max_upload_bytes: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    is_public: bool = False
    is_body_optional: bool = False


def documented(
    *,
    query: Any = None,
    body: Any = None,
    answer: Any = None,
    status: int = 200,
    also: Mapping[int, Any] | None = None,
    produces: str = "application/json",
    upload: Mapping[str, str] | None = None,
    max_upload_bytes: int = 0,
    headers: Mapping[str, str] | None = None,
    is_public: bool = False,
    is_body_optional: bool = False,
) -> Callable[[F], F]:
    """Describes a route under /api; every one needs it, or the server does not start.

    `query`, `body`: models (web.schemas.Query, Body) that the route reads by `query()` and `body()`.
    `answer`: model, or list[model], of the answer with `status`; `also`: further statuses.
    `produces`: media type where the answer is not JSON. `upload`: form fields of a multipart upload
    with their descriptions (then the body is not JSON). `headers`: request headers that are read.
    `is_public`: answered without a login too. `is_body_optional`: no body means the body's defaults.
    """

    def mark(view: F) -> F:
        answers = {status: answer, **(also or {})}
        operation = Operation(
            query=query,
            body=body,
            answers=answers,
            produces=produces,
            upload=upload,
            max_upload_bytes=max_upload_bytes,
            headers=dict(headers or {}),
            is_public=is_public,
            is_body_optional=is_body_optional,
        )
        setattr(view, _ATTRIBUTE, operation)
        return view

    return mark


def operation_of(view: Any) -> Operation | None:
    """What `documented` said about a view function."""
    found: Operation | None = getattr(view, _ATTRIBUTE, None)
    return found


def current_operation() -> Operation | None:
    view = current_app.view_functions.get(request.endpoint or "")
    return operation_of(view)


def api_blueprint(name: str, prefix: str | None = None) -> Blueprint:
    """Blueprint of one resource, under /api/NAME (or `prefix`); its module calls it `bp`."""
    return Blueprint(f"api_{name.replace('-', '_')}", __name__, url_prefix=f"/api/{name}" if prefix is None else prefix)


def _name(model: Any) -> str:
    if get_origin(model) is list:
        return f"{_name(get_args(model)[0])}List"
    return f"{model.__module__.rsplit('.', 1)[-1]}.{model.__name__}"


def _spectree() -> SpecTree:
    return SpecTree(
        "flask",
        annotations=False,
        mode="strict",
        title="Curlew",
        version="0.1.0",
        naming_strategy=_name,
        validation_error_model=Error,
        security_schemes=[
            SecurityScheme(
                name="token",
                data=SecuritySchemeData(
                    type=SecureType.HTTP,
                    scheme="bearer",
                    description="Made in Settings; needed where ADMIN_PASSWORD is set",
                ),
            )
        ],
    )


def register_documentation(app: Flask) -> None:
    """Describes all routes registered so far; RuntimeError names one that nobody documented."""
    app.add_url_rule("/api/openapi.json", "openapi_json", _openapi_json)
    app.add_url_rule("/api/docs", "api_docs", _api_docs)
    spec = _spectree()
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/api/"):
            continue
        view = app.view_functions[rule.endpoint]
        operation = operation_of(view)
        if operation is None:
            raise RuntimeError(f"{rule.rule} ({view.__module__}.{view.__name__}) lacks @documented")
        if spec.get_function_metadata(view) is None:
            app.view_functions[rule.endpoint] = _described(spec, view, operation, rule)
    app.extensions["curlew_openapi"] = spec
    app.extensions["curlew_openapi_cache"] = {}


def _operation_id(endpoint: str) -> str:
    return endpoint.removeprefix("api_").replace(".", "_")


def _described(spec: SpecTree, view: Any, operation: Operation, rule: Rule) -> Any:
    answers = {f"HTTP_{status}": model for status, model in operation.answers.items()}
    return spec.validate(
        query=operation.query,
        json=operation.body,
        resp=SpecResponse(**answers),
        tags=[rule.rule.split("/")[2]],
        skip_validation=True,  # our own checks are stricter: see web/parsing.py
        operation_id=_operation_id(rule.endpoint),
        security=[] if operation.is_public else [{"token": []}, {}],
    )(view)


def openapi(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of this app (made once)."""
    cache: dict[str, Any] = app.extensions["curlew_openapi_cache"]
    if not cache:
        cache.update(_complete(app, app.extensions["curlew_openapi"].spec))
    return cache


_ERRORS = {
    400: "Malformed", 401: "Not logged in", 403: "Foreign", 404: "Unknown", 409: "Conflict",
    413: "Too large", 415: "Not JSON", 422: "Invalid value", 429: "Too many", 503: "No source could answer",
}  # fmt: skip


def _complete(app: Flask, document: dict[str, Any]) -> dict[str, Any]:
    """Adds what spectree does not know: our errors, uploads, other media types, request headers."""
    schemas = document["components"]["schemas"]
    schemas.setdefault(_name(Error), Error.model_json_schema())
    operations = {
        _operation_id(endpoint): found
        for endpoint, view in app.view_functions.items()
        if (found := operation_of(view)) is not None
    }
    for path in document["paths"].values():
        for described in path.values():
            _complete_operation(described, operations[described["operationId"]])
    return document


def _complete_operation(described: dict[str, Any], operation: Operation) -> None:
    error = {"application/json": {"schema": {"$ref": f"#/components/schemas/{_name(Error)}"}}}
    for status, words in _ERRORS.items():
        described["responses"][str(status)] = {"description": words, "content": error}
    if operation.produces != "application/json":
        for status in operation.answers:
            content = {operation.produces: {"schema": {"type": "string"}}}
            described["responses"][str(status)] = {"description": "OK", "content": content}
    for name, words in operation.headers.items():
        described["parameters"].append(
            {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": words}
        )
    for parameter in described["parameters"]:
        # Optional query parameters are absent rather than null: `anyOf: [..., null]` says nothing here.
        variants = [kind for kind in parameter["schema"].get("anyOf", []) if kind != {"type": "null"}]
        if len(variants) == 1:
            parameter["schema"] = {**{k: v for k, v in parameter["schema"].items() if k != "anyOf"}, **variants[0]}
            if parameter["schema"].get("default", 0) is None:
                del parameter["schema"]["default"]
    if operation.is_body_optional:
        described["requestBody"]["required"] = False
    if operation.upload is not None:
        described["requestBody"] = _upload_body(operation.upload)


def _upload_body(fields: Mapping[str, str]) -> dict[str, Any]:
    properties = {
        name: {"type": "array", "items": {"type": "string", "format": "binary"}, "description": words}
        if name == "files"
        else {"type": "string", "description": words}
        for name, words in fields.items()
    }
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": {"type": "object", "properties": properties}}},
    }


@documented(answer=None)
def _openapi_json() -> Response:
    return render(openapi(current_app))


@documented(answer=None, produces="text/html")
def _api_docs() -> str:
    return render_template("api_docs.html", document=openapi(current_app))
