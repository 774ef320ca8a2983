"""Login of people and tokens of programs, where ADMIN_PASSWORD is set. Else everybody on this machine is the owner."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from flask import Blueprint, Flask, Request, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from runtime.services import services
from store.tokens import TokenStore
from web.security import STATE_CHANGES, is_loopback

bp = Blueprint("auth", __name__)

# In memory: one process serves, and a restart is no way around it for somebody outside.
limiter = Limiter(
    get_remote_address,
    storage_uri="memory://",
    strategy="moving-window",
    default_limits=["1200 per minute"],
    default_limits_exempt_when=lambda: _is_unlimited(),
)

LOGIN_LIMIT = "10 per minute"
PROVIDER_TEST_LIMIT = "10 per minute"

# What the login page itself is made of.
_OPEN_ENDPOINTS = frozenset({"static", "auth.login", "auth.login_post", "favicon"})


class Owner(UserMixin):
    """The one user. His id changes with the password, so that a new password ends every old login."""

    def __init__(self, user_id: str) -> None:
        self.id = user_id


def _password() -> str:
    return services().settings.admin_password.get_secret_value()


def _owner_id() -> str:
    key = str(current_app.config["SECRET_KEY"]).encode()
    return hmac.new(key, _password().encode(), hashlib.sha256).hexdigest()[:32]


def _load_user(user_id: str) -> Owner | None:
    return Owner(user_id) if secrets.compare_digest(user_id.encode(), _owner_id().encode()) else None


def needs_login() -> bool:
    """Whether this server asks for a password at all."""
    return bool(_password())


def is_logged_in() -> bool:
    return bool(current_user.is_authenticated)


def check_login(asked: Request) -> None:
    """Unauthorized (401) unless nobody needs a login, or the caller has one, or a program's token."""
    from web.openapi import current_operation

    if not needs_login() or asked.endpoint in _OPEN_ENDPOINTS:
        return
    operation = current_operation()
    if operation is not None and operation.is_public:
        return
    kind, _space, token = asked.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        if TokenStore(services().database).is_valid(token.strip(), services().clock.now_ms()):
            return
        raise _unauthorized(_("The token is not valid; make a new one in Settings."))
    if not is_logged_in():
        raise _unauthorized(_("Log in, or send Authorization: Bearer TOKEN with a token made in Settings."))


def _unauthorized(words: str) -> Unauthorized:
    return Unauthorized(words, www_authenticate=WWWAuthenticate("bearer"))


def _own_page(target: str) -> str:
    """`target` where it is a path of ours, else the dashboard: a login must not send people elsewhere."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_path else "/"


@bp.get("/login")
def login() -> ResponseReturnValue:
    if not needs_login() or is_logged_in():
        return redirect(_own_page(request.args.get("next", "/")))
    return render_template("login.html", target=_own_page(request.args.get("next", "/")), error=None)


@bp.post("/login", endpoint="login_post")
@limiter.limit(LOGIN_LIMIT, deduct_when=lambda answer: answer.status_code != 302)
def login_post() -> ResponseReturnValue:
    target = _own_page(request.form.get("next", "/"))
    if not needs_login():
        return redirect(target)
    given = request.form.get("password", "").encode("utf-8", "surrogatepass")
    if not secrets.compare_digest(given, _password().encode()):
        return render_template("login.html", target=target, error=_("That is not the password.")), 401
    login_user(Owner(_owner_id()))
    return redirect(target)


@bp.post("/logout")
def logout() -> ResponseReturnValue:
    logout_user()
    return redirect(url_for("auth.login") if needs_login() else "/")


def _is_unlimited() -> bool:
    """Reads from this machine, and all that is no read: state changes have limits of their own where they need one."""
    return request.method in STATE_CHANGES or is_loopback(request.remote_addr or "")


def register_auth(app: Flask) -> None:
    manager = LoginManager()
    manager.session_protection = None  # a login survives a change of the network
    manager.user_loader(_load_user)
    manager.init_app(app)
    app.config.update(RATELIMIT_HEADERS_ENABLED=False)
    limiter.init_app(app)
    app.register_blueprint(bp)
