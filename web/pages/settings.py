"""/settings: every setting with its value, where the data lies, and the tokens of programs."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args, get_origin

from flask import Blueprint, render_template
from flask_babel import gettext as _
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from config import Settings
from domain.times import to_ms
from runtime.services import services
from web.auth import needs_login
from web.shell import is_simulated

bp = Blueprint("settings", __name__)

# A user name and password inside an address, as in redis://:password@host, and in its query.
_CREDENTIALS = re.compile(r"(?<=://)[^@]*@")
_QUERY_SECRET = re.compile(r"(?i)(?<=[?&])((?:ssl)?passw(?:or)?d|passfile|sslkey)=[^&]*")


def _sections() -> dict[str, str]:
    """The first setting of each section, in the order of config.py."""
    return {
        "data_dir": _("Where things are"),
        "host": _("Serving"),
        "market": _("Market"),
        "cache_enabled": _("Cache and retention"),
        "data_source_priority": _("Venues"),
        "deepseek_api_key": _("Language models"),
        "log_level": _("Logs"),
    }


def _text(value: Any) -> str:
    """A value as one writes it in `.env`; what could log somebody in is left out."""
    if isinstance(value, SecretStr):
        return str(_("set") if value.get_secret_value() else _("not set"))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return _without_credentials(str(value))


def _without_credentials(address: str) -> str:
    return _QUERY_SECRET.sub(r"\1=***", _CREDENTIALS.sub("***@", address))


def _row(name: str, settings: Settings) -> dict[str, Any]:
    field = Settings.model_fields[name]
    value, default = getattr(settings, name), field.get_default(call_default_factory=True)
    allowed = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    is_secret = isinstance(value, SecretStr)
    return {
        "name": name.upper(),
        "value": _text(value),
        "default": "" if is_secret else _text(default),
        "meaning": _(field.description or ""),
        "choices": ", ".join(str(choice) for choice in allowed),
        "is_secret": is_secret,
        # Whether it was set, rather than whether it differs: a relative DATA_DIR reads as an absolute one.
        "is_set": name in settings.model_fields_set,
    }


def setting_sections(settings: Settings) -> list[dict[str, Any]]:
    """Sections with a title and rows, together every field of Settings."""
    starts = _sections()
    found: list[dict[str, Any]] = []
    for name in Settings.model_fields:
        if name in starts or not found:
            found.append({"title": starts.get(name, ""), "rows": []})
        found[-1]["rows"].append(_row(name, settings))
    return found


def workspace_facts() -> dict[str, Any]:
    """Where this workspace lives and which market it trades on; times in ms UTC."""
    held = services()
    settings = held.settings
    simulated = is_simulated()
    return {
        "database": _without_credentials(make_url(settings.sqlalchemy_url).render_as_string(hide_password=True)),
        "data_dir": str(settings.data_dir),
        "simulated": simulated,
        "seed": held.workspace.seed(settings.simulated_seed) if simulated else None,
        "speed": float(getattr(held.clock, "speed", 1.0)),
        "now_ms": to_ms(held.clock.now()),
    }


@bp.get("/settings")
def settings() -> str:
    return render_template(
        "settings.html",
        sections=setting_sections(services().settings),
        workspace=workspace_facts(),
        needs_login=needs_login(),
        page_data={"needs_login": needs_login()},
    )
