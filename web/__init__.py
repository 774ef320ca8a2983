"""Pages, JSON routes and the Socket.IO gateway."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, request

if TYPE_CHECKING:
    from runtime.services import Services

# Packages whose modules each bring one blueprint, called `bp`.
_BLUEPRINT_PACKAGES = ("web.api", "web.pages")


def _blueprints() -> list[Blueprint]:
    """Every blueprint of our packages, in the order of their names. A module without one stops the start."""
    found = []
    for package_name in _BLUEPRINT_PACKAGES:
        package = import_module(package_name)
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
            if module.name.startswith("_"):
                continue
            blueprint: Any = getattr(import_module(f"{package_name}.{module.name}"), "bp", None)
            if not isinstance(blueprint, Blueprint):
                raise TypeError(f"{package_name}.{module.name} has no blueprint `bp`")
            found.append(blueprint)
    return found


def _register_babel(app: Flask) -> None:
    from flask_babel import Babel, get_locale

    babel = Babel()

    def select_locale() -> str:
        known = [str(locale) for locale in babel.list_translations()]
        return request.accept_languages.best_match(known) or "en"

    babel.init_app(app, locale_selector=select_locale)
    app.jinja_env.globals["get_locale"] = get_locale


def register_web(app: Flask, services: Services) -> None:
    """Adds everything that answers HTTP to `app`. Socket.IO, which wraps the app too, comes before this call."""
    from web.auth import register_auth
    from web.errors import register_errors
    from web.gateway import register_gateway
    from web.metrics import register_metrics
    from web.openapi import register_documentation
    from web.routing import register_converters
    from web.security import register_security

    app.extensions["curlew"] = services
    app.json.sort_keys = False  # type: ignore[attr-defined]
    register_converters(app)
    _register_babel(app)
    register_errors(app)
    register_metrics(app)
    register_gateway(app, services)
    register_security(app, services.settings)
    register_auth(app)
    for blueprint in _blueprints():
        app.register_blueprint(blueprint)
    register_documentation(app)
