"""Who may call: hosts, origins, headers. Logins and tokens are in web/auth.py.

A program sends no Origin and no cookie and needs no CSRF token. A browser proves by Origin or
Sec-Fetch-Site that one of our own pages is asking, or sends the token of one. A foreign page gets 403
and a name that is not ours (DNS rebinding) gets 400, whatever it asks for.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask, Request, Response, current_app, request
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from flask_babel import gettext as _
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException

from domain.errors import Misconfigured
from store.secrets import load_or_create

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from config import Settings

STATE_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
PROGRAM_PATHS = ("/api/", "/metrics", "/socket.io")

# Name or IPv4 literal or bracketed IPv6 literal, then perhaps a port.
_HOST = re.compile(r"(?P<name>[a-z0-9_.\-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?", re.IGNORECASE)
_DEFAULT_PORTS = {"http": "80", "https": "443"}

MAX_JSON_BYTES = 2 * 1024 * 1024


# -- start-up -----------------------------------------------------------------------------


def is_loopback(name: str) -> bool:
    """Whether a host name or address means this machine."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def check_bind(settings: Settings) -> None:
    """Misconfigured where others could reach a server that asks nobody for a password."""
    if is_loopback(settings.host) or settings.admin_password.get_secret_value():
        return
    raise Misconfigured(
        f"HOST is {settings.host}: other machines could reach Curlew and trade with it. "
        "Set ADMIN_PASSWORD to protect it, or HOST=127.0.0.1 to serve this machine only.",
        field="host",
    )


def secret_key(settings: Settings) -> str:
    """SECRET_KEY, or the one generated into DATA_DIR at the first start (readable by its owner only)."""
    given = settings.secret_key.get_secret_value()
    if given:
        return given
    return load_or_create(settings.data_dir / "secret_key", lambda: secrets.token_hex(32).encode()).decode()


# -- hosts and origins --------------------------------------------------------------------


def _known_hosts(settings: Settings) -> frozenset[str]:
    # An unspecified address (0.0.0.0, ::) is no name that anybody would call.
    return frozenset({settings.host.lower(), *(name.strip("[]") for name in settings.extra_hosts)})


def check_host(host: str, known: Iterable[str]) -> None:
    """BadRequest unless `host` (a Host header) is a loopback name or one of `known`."""
    match = _HOST.fullmatch(host)
    if match:
        name = match["name"].strip("[]").lower()
        if is_loopback(name) or name in known:
            return
    raise BadRequest(_("This server does not know the host name of the request; add it to ALLOWED_HOSTS."))


def _same_origin(origin: str, host: str) -> bool:
    """Whether `origin` (an Origin or Referer) is what was called; "null" is not. TLS may end before us."""
    try:
        parts = urlsplit(origin)
        port = str(parts.port or _DEFAULT_PORTS.get(parts.scheme, ""))
    except ValueError:
        return False
    own = _HOST.fullmatch(host)
    if own is None or parts.scheme not in _DEFAULT_PORTS or parts.hostname is None:
        return False
    own_port = own["port"] or _DEFAULT_PORTS[parts.scheme]
    return parts.hostname == own["name"].strip("[]").lower() and port == own_port


def is_foreign(asked: Request) -> bool:
    """Whether another site's page is behind this request."""
    host = asked.environ.get("HTTP_HOST", "")
    origin = asked.headers.get("Origin")
    if origin is not None and not _same_origin(origin, host):
        return True
    site = asked.headers.get("Sec-Fetch-Site")
    if site is not None and site not in {"same-origin", "none"}:
        # A link on another site may open a page of ours. It may not read, embed or change anything.
        is_link = (
            asked.method in {"GET", "HEAD"}
            and asked.headers.get("Sec-Fetch-Mode") == "navigate"
            and asked.headers.get("Sec-Fetch-Dest") == "document"
            and not asked.path.startswith(PROGRAM_PATHS)
        )
        return not is_link
    if origin is None and site is None and asked.method in STATE_CHANGES:
        referer = asked.headers.get("Referer")
        return referer is not None and not _same_origin(referer, host)
    return False


def _has_proof(asked: Request) -> bool:
    """Origin and Sec-Fetch-Site cannot be set by a page's script; that they are not foreign is checked before."""
    return "Origin" in asked.headers or "Sec-Fetch-Site" in asked.headers


def _has_token(asked: Request) -> bool:
    from flask_wtf.csrf import validate_csrf
    from wtforms import ValidationError

    given = asked.headers.get("X-CSRFToken") or asked.form.get("csrf_token")
    try:
        validate_csrf(given)
    except ValidationError:
        return False
    return True


def check_caller(asked: Request, known_hosts: Iterable[str]) -> None:
    """BadRequest for an unknown host, Forbidden for a foreign or unproven browser."""
    check_host(asked.environ.get("HTTP_HOST", ""), known_hosts)
    if is_foreign(asked):
        raise Forbidden(_("A page of another site asked for this; open it in Curlew itself."))
    if asked.method in STATE_CHANGES and "Cookie" in asked.headers and not _has_proof(asked) and not _has_token(asked):
        raise Forbidden(_("A browser must send Origin or X-CSRFToken; a program must not send cookies."))


# -- headers ------------------------------------------------------------------------------


def _content_security_policy(host: str) -> str:
    # Browsers differ in whether 'self' covers the websocket of the same host.
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return "; ".join(
        (
            "default-src 'self'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            f"connect-src 'self'{sockets}",
            "font-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)


class SecureGateway:
    """Outermost WSGI layer: headers on every answer, and the checks for Socket.IO, which Flask never sees."""

    def __init__(self, app: Flask, inner: WSGIApplication) -> None:
        self._app = app
        self._inner = inner

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        extra = [*_HEADERS, ("Content-Security-Policy", _content_security_policy(environ.get("HTTP_HOST", "")))]

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            present = {name.lower() for name, _value in headers}
            return start_response(status, headers + [e for e in extra if e[0].lower() not in present], exc_info)

        if environ.get("PATH_INFO", "").startswith("/socket.io"):
            refusal = refuse_connection(self._app, environ)
            if refusal is not None:
                return refusal(environ, start)
        return self._inner(environ, start)


def refuse_connection(app: Flask, environ: WSGIEnvironment) -> Response | None:
    """The answer to a Socket.IO request that may not pass; None where it may."""
    from web.auth import check_login
    from web.errors import error_answer

    # A context of its own: flask-login keeps the user it found in `g`.
    with app.app_context(), app.request_context(environ):
        try:
            check_caller(request, app.config["KNOWN_HOSTS"])
            check_login(request)
        except HTTPException as error:
            return error_answer(error.code or 403, error.description or error.name)
    return None


class _QuietSessions(SecureCookieSessionInterface):
    """Session cookies for pages only: /api, /metrics and files set none."""

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if not request.path.startswith((*PROGRAM_PATHS, "/static/")):
            super().save_session(app, session, response)


def _csrf_token() -> str:
    """For forms and scripts. Empty where nobody logs in: a token needs a cookie, and Origin proves enough there."""
    from flask_wtf.csrf import generate_csrf

    from web.auth import needs_login

    return str(generate_csrf()) if needs_login() else ""


# -- registration -------------------------------------------------------------------------


def _guard() -> None:
    from web.auth import check_login
    from web.openapi import current_operation
    from web.parsing import check_body

    operation = current_operation()
    is_upload = operation is not None and operation.upload is not None
    if operation is not None and operation.max_upload_bytes:
        request.max_content_length = operation.max_upload_bytes
    check_caller(request, current_app.config["KNOWN_HOSTS"])
    check_login(request)
    if request.path.startswith("/api/") and request.method in STATE_CHANGES:
        check_body(is_upload=is_upload)


def register_security(app: Flask, settings: Settings) -> None:
    """Checks before every request, headers on every answer, quiet cookies. Call it after Socket.IO is set up."""
    app.config.update(
        SECRET_KEY=secret_key(settings),
        KNOWN_HOSTS=_known_hosts(settings),
        SESSION_COOKIE_NAME="curlew_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        WTF_CSRF_TIME_LIMIT=None,
        MAX_CONTENT_LENGTH=MAX_JSON_BYTES,
    )
    app.session_interface = _QuietSessions()
    app.jinja_env.globals["csrf_token"] = _csrf_token
    app.before_request(_guard)
    app.wsgi_app = SecureGateway(app, app.wsgi_app)  # type: ignore[method-assign]
