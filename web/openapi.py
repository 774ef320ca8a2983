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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args, get_origin

from flask import Blueprint, Flask, Response, current_app, render_template, request
from pydantic import BaseModel, TypeAdapter
from spectree import Response as SpecResponse
from spectree import SpecTree
from spectree.models import SecureType, SecurityScheme, SecuritySchemeData
from spectree.plugins.flask_plugin import FlaskPlugin
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


def _is_model(kind: Any) -> bool:
    """What spectree can describe: a model or a list of one. Everything else is described by pydantic itself."""
    if get_origin(kind) is list:
        kind = get_args(kind)[0]
    return isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, BaseModel)


class _Described(FlaskPlugin):
    """Tells spectree of our view functions without wrapping them: requests pass by our own checks only."""

    def parse_func(self, route: Rule) -> Iterator[tuple[str, Any]]:
        view = current_app.view_functions[route.endpoint]
        operation = operation_of(view)
        if operation is None:
            return
        answers = {f"HTTP_{code}": kind if _is_model(kind) else None for code, kind in operation.answers.items()}
        described = self.spectree.validate(
            query=operation.query,
            json=operation.body,
            resp=SpecResponse(**answers),
            tags=[route.rule.split("/")[2]],
            skip_validation=True,
            operation_id=_operation_id(route.endpoint),
            security=[] if operation.is_public else [{"token": []}, {}],
        )(view)
        for method in route.methods or ():
            yield method, described


def _spectree() -> SpecTree:
    return SpecTree(
        backend=_Described,
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
                    type=SecureType.HTTP, scheme="bearer", description="Made in Settings, for ADMIN_PASSWORD"
                ),
            )
        ],
    )


def register_documentation(app: Flask) -> None:
    """Serves the description of all routes; RuntimeError names one registered so far that nobody documented."""
    app.add_url_rule("/api/openapi.json", "api_document", _openapi_json)
    app.add_url_rule("/api/docs", "api_docs", _api_docs)
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if rule.rule.startswith("/api/") and operation_of(view) is None:
            raise RuntimeError(f"{rule.rule} ({view.__module__}.{view.__name__}) lacks @documented")
    app.extensions["curlew_openapi"] = {}


def _operation_id(endpoint: str) -> str:
    return endpoint.removeprefix("api_").replace(".", "_")


def openapi(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of this app, made when it is first asked for: it takes a quarter of a second."""
    cache: dict[str, Any] = app.extensions["curlew_openapi"]
    if not cache:
        cache.update(_complete(app, _spectree().spec))
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
    for status, kind in operation.answers.items():
        if kind is not None and not _is_model(kind):
            schema = TypeAdapter(kind).json_schema()
            described["responses"][str(status)] = {
                "description": "OK",
                "content": {"application/json": {"schema": schema}},
            }
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


@documented(answer=dict[str, Any])
def _openapi_json() -> Response:
    """This description."""
    return render(openapi(current_app))


@documented(answer=None, produces="text/html")
def _api_docs() -> str:
    """This description, for people."""
    return render_template("api_docs.html", document=openapi(current_app))
