"""/data: what is stored (candles, funding rates), where it has gaps, and import by upload."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask_babel import gettext as _

from domain.times import INTERVALS_MS
from web.api.candles import MAX_UPLOAD_BYTES

bp = Blueprint("data", __name__)


@bp.get("/data")
def data() -> str:
    return render_template(
        "data.html",
        interval_choices=[("", _("from the path")), *((name, name) for name in INTERVALS_MS)],
        page_data={"max_upload_bytes": MAX_UPLOAD_BYTES},
    )
