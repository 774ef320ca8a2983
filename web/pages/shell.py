"""The layout's own routes: the icon that browsers ask for, and the words of the scripts in other languages."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, send_file
from flask.blueprints import BlueprintSetupState
from flask_babel import force_locale

from web.shell import favicon_path, messages_script, register_shell

bp = Blueprint("shell", __name__)


def favicon() -> Response:
    return send_file(favicon_path(), mimetype="image/x-icon", max_age=86_400)


@bp.get("/i18n/<locale>.js")
def messages(locale: str) -> Response:
    """Words of the scripts; the address carries a hash of them, so it may be kept."""
    known = {str(each) for each in current_app.extensions["babel"].instance.list_translations()}
    with force_locale(locale if locale in known else "en"):
        answer = Response(messages_script(), mimetype="text/javascript")
    answer.cache_control.max_age = 31_536_000
    return answer


@bp.record_once
def _on_app(state: BlueprintSetupState) -> None:
    register_shell(state.app)
    state.app.add_url_rule("/favicon.ico", "favicon", favicon)
