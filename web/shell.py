"""What every page shows around its content: menu, market, clock, scheduler, words for the scripts."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from flask import current_app, request, url_for
from flask.sansio.app import App
from flask_babel import get_locale, get_translations
from flask_babel import gettext as _

from domain.errors import Retryable
from runtime.services import services
from store.workspace import SIMULATED

# elsewhere: another process has this database. off: this one only serves.
SchedulerState = Literal["running", "elsewhere", "stopped", "off"]

# Addresses of the menu, in its order; later pages only add a line here.
_PAGES = ("/", "/charts", "/models", "/strategies", "/backtest", "/coins", "/data", "/settings", "/about")


def _labels() -> dict[str, str]:
    return {
        "/": _("Dashboard"), "/charts": _("Charts"), "/models": _("Models"), "/strategies": _("Strategies"),
        "/backtest": _("Backtests"), "/coins": _("Coins"), "/data": _("Data"), "/settings": _("Settings"),
        "/about": _("About"),
    }  # fmt: skip


def _nav() -> list[dict[str, Any]]:
    labels = _labels()
    here = "/" + request.path.strip("/").split("/")[0]
    return [{"href": href, "label": labels[href], "is_current": here == href} for href in _PAGES]


def is_simulated() -> bool:
    return services().market.workspace_market == SIMULATED


def market_label() -> str:
    """What stands beside every price: that it is simulated, where it is."""
    label: str = _("SIMULATED MARKET") if is_simulated() else _("EXCHANGES")
    return label


def scheduler_state() -> SchedulerState:
    runner = services().runner
    return "off" if runner is None else runner.state


def shell_facts() -> dict[str, Any]:
    """Of /api/shell and of the first paint: what the frame of a page shows and keeps up to date."""
    clock = services().clock
    return {
        "market": services().market.workspace_market,
        "market_label": market_label(),
        "simulated": is_simulated(),
        "speed": float(getattr(clock, "speed", 1.0)),
        "now_ms": clock.now_ms(),
        "scheduler": scheduler_state(),
        "default_coin": services().settings.default_symbol,
    }


def ticks() -> dict[str, float]:
    """Price step of each coin on the workspace's market, as far as it is known."""
    market = services().market
    found = {}
    try:
        for coin in services().catalogue.list_coins():
            instrument = market.instrument(coin.symbol)
            if instrument is not None and instrument.tick:
                found[coin.symbol] = instrument.tick
    except Retryable:
        return found  # no source answers: digits then follow the size of the price
    return found


def _messages() -> dict[str, Any]:
    """The page's language as {message: translation | [plural forms]}; empty in English."""
    catalogue = getattr(get_translations(), "_catalog", {})
    found: dict[str, Any] = {}
    plurals: dict[str, dict[int, str]] = {}
    for key, text in catalogue.items():
        if isinstance(key, tuple):
            plurals.setdefault(key[0], {})[key[1]] = text
        elif key:
            found[key] = text
    return found | {key: [forms[n] for n in sorted(forms)] for key, forms in plurals.items()}


def messages_script() -> str:
    """A script that hands the scripts of a page their words (see static/js/core/i18n.js)."""
    return f"globalThis.curlewMessages = {json.dumps(_messages(), ensure_ascii=True)};\n"


class Shell:
    """`shell` in templates. Nothing is read before a template asks: an error page stands without services."""

    @property
    def nav(self) -> list[dict[str, Any]]:
        return _nav()

    @cached_property
    def facts(self) -> dict[str, Any]:
        return shell_facts()

    def __getattr__(self, name: str) -> Any:
        try:
            return self.facts[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def ticks(self) -> dict[str, float]:
        return ticks()

    @property
    def can_log_out(self) -> bool:
        from web.auth import needs_login

        return needs_login()

    @property
    def messages_url(self) -> str | None:
        locale = str(get_locale() or "en")
        if locale.startswith("en"):
            return None
        version = hashlib.sha256(messages_script().encode()).hexdigest()[:12]
        return url_for("shell.messages", locale=locale, v=version)


def asset(name: str) -> str:
    """Address of a static file. Modules import each other by plain paths, so ETags keep caches honest, not names."""
    return url_for("static", filename=name)


def register_shell(app: App) -> None:
    """Template globals of the layout."""
    app.context_processor(lambda: {"shell": Shell(), "asset": asset})
    # Scripts and styles are revalidated at each visit (a 304 when unchanged): an update never runs with old parts.
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 0


def favicon_path() -> Path:
    return Path(current_app.root_path) / "static" / "img" / "favicon.ico"
