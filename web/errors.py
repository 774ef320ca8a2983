"""Errors in the contract's shape: `{"error": "what is wrong and what to do", "field": "..."}`.

Pages get the same words as HTML. Nobody gets a stack trace.
"""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext as _
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection
from werkzeug.exceptions import HTTPException

from domain.errors import (
    Cancelled,
    Conflict,
    CurlewError,
    InvalidValue,
    Misconfigured,
    NotFound,
    Refused,
    Retryable,
)
from web.answers import render

log = structlog.get_logger(__name__)

# The first that fits counts: subclasses before their bases (NoSource is a Retryable, BadData a Refused).
_STATUS: tuple[tuple[type[CurlewError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Cancelled, 409),
    (InvalidValue, 422),
    (Refused, 422),
    (Retryable, 503),
    (Misconfigured, 503),
    (CurlewError, 500),
)


def status_of(error: CurlewError) -> int:
    return next(status for kind, status in _STATUS if isinstance(error, kind))


def wants_json() -> bool:
    """Programs speak JSON: everything under /api, and whoever asks for it."""
    if request.path.startswith(("/api/", "/socket.io")) or request.path in {"/api", "/metrics"}:
        return True
    return request.accept_mimetypes.best_match(["text/html", "application/json"], default="text/html") != "text/html"


def error_answer(status: int, words: str, field: str | None = None, headers: Any = None) -> Response:
    """An error as JSON, or as a page where a person asked for one."""
    if wants_json():
        content: dict[str, Any] = {"error": words}
        if field is not None:
            content["field"] = field
        answer = render(content, status)
    else:
        answer = make_response(render_template("error.html", status=status, words=words), status)
    for name, value in headers or ():
        if name.lower() not in {"content-type", "content-length"}:
            answer.headers[name] = value
    return answer


def _words(error: HTTPException) -> str:
    ours = {
        404: _("There is nothing at this address."),
        405: _("This address does not take %(method)s; use one of the methods in the Allow header.",
               method=request.method),
        413: _("The body is too large."),
        429: _("Too many attempts; wait a minute and try again."),
    }  # fmt: skip
    status = error.code or 500
    return ours.get(status) or error.description or error.name


def _http_error(error: HTTPException) -> Response | HTTPException:
    if error.response is not None or (error.code or 500) < 400:  # a redirect, or an answer made on purpose
        return error
    if error.code == 401 and not wants_json():
        target = request.full_path.rstrip("?") if request.method == "GET" else "/"
        return make_response(redirect(url_for("auth.login", next=target)))
    return error_answer(error.code or 500, _words(error), headers=error.get_headers(request.environ))


def _curlew_error(error: CurlewError) -> Response:
    status = status_of(error)
    if status >= 500:
        log.warning("request failed", path=request.path, error=str(error), kind=type(error).__name__)
    return error_answer(status, str(error), error.field)


def _integrity_error(error: IntegrityError) -> Response:
    # Two requests at once can both pass a check that the database then decides.
    log.info("conflict in the database", path=request.path, error=str(error.orig))
    return error_answer(409, _("This contradicts what is already stored; reload and try again."))


def _database_error(error: SQLAlchemyError) -> Response:
    log.error("database error", path=request.path, exc_info=error)
    if isinstance(error, OperationalError | NoConnection):
        return error_answer(503, _("The database did not answer; try again."))
    return error_answer(500, _("Something went wrong in the server; its log says what."))


def _unexpected(_error: Exception) -> Response:
    # Flask has logged it, with its traceback.
    return error_answer(500, _("Something went wrong in the server; its log says what."))


def register_errors(app: Flask) -> None:
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(CurlewError, _curlew_error)
    app.register_error_handler(IntegrityError, _integrity_error)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(NoConnection, _database_error)
    app.register_error_handler(500, _unexpected)
