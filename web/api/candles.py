"""/api/candles: the stored series, their gaps, import by upload."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response, request
from flask_babel import gettext as _
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.errors import InvalidValue, NotFound
from domain.market import SeriesKey, parse_market
from runtime.clock import SystemClock
from runtime.services import services
from store.importer import import_paths
from store.series_names import NameParts
from store.uploads import unpacked_uploads
from web.answers import render, render_nothing
from web.openapi import api_blueprint, documented
from web.parsing import invalid, query
from web.schemas import Answer, Query

bp = api_blueprint("candles")

MAX_UPLOAD_BYTES = 256 * 1024 * 1024


class SeriesQuery(Query):
    """Names one stored series."""

    venue: str = Field(pattern=r"^[A-Za-z0-9_-]{1,20}$")
    market: str = Field(description="spot, perp or perp-mark")
    symbol: str = Field(min_length=1, max_length=60, description="The venue's symbol, e.g. BTCUSDT")
    interval: str = Field(max_length=4, description="1m, 5m, 15m, 1h, 4h, 1d, 1w, ...")

    def key(self) -> SeriesKey:
        return SeriesKey(self.venue, parse_market(self.market), self.symbol, self.interval)


class UploadForm(BaseModel):
    """Fields of the upload beside its files; empty ones count as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    venue: str | None = None
    market: str | None = None
    symbol: str | None = None
    interval: str | None = None
    replace: Literal["0", "1", "true", "false", "on"] = "0"


class Series(Answer):
    """`gaps`: places where bars are missing; first and last are bar opens."""

    venue: str
    market: str
    symbol: str
    interval: str
    rows: int
    first: int
    last: int
    gaps: int


class Gap(Answer):
    """Missing bars: the opens of the first and the last of them."""

    first: int
    last: int
    bars: int


class ImportTotals(Answer):
    files: int
    errors: int
    rows: int
    stored: int
    unchanged: int
    different: int
    replaced: int
    refused: int


class ImportAnswer(Answer):
    """`files`: one object a file (path, series, counts, gaps, refusals, differences, error)."""

    totals: ImportTotals
    files: list[dict[str, Any]]
    series: list[Series]


@bp.get("")
@documented(answer=list[Series])
def list_series() -> Response:
    """Every stored series."""
    return render([info.to_dict() for info in services().candles.list()])


@bp.get("/gaps")
@documented(query=SeriesQuery, answer=list[Gap])
def list_gaps() -> Response:
    """Where bars are missing in one series, oldest first."""
    key = query(SeriesQuery).key()
    candles = services().candles
    if candles.info(key) is None:
        raise NotFound(_("There are no candles of %(series)s.", series=str(key)))
    step = key.step_ms
    return render([{"first": a, "last": b - step, "bars": (b - a) // step} for a, b in candles.gaps(key)])


@bp.delete("")
@documented(query=SeriesQuery, answer=None, status=204)
def delete_series() -> Response:
    """Removes one series from the store."""
    key = query(SeriesQuery).key()
    if not services().candles.delete(key):
        raise NotFound(_("There are no candles of %(series)s.", series=str(key)))
    return render_nothing()


@bp.post("/import")
@documented(
    answer=ImportAnswer,
    upload={
        "files": "Binance dump CSV or zip, Parquet of candles or funding rates; their names may hold folders",
        "venue": "Where the names do not tell",
        "market": "spot, perp or perp-mark, where the names do not tell",
        "symbol": "Where the names do not tell",
        "interval": "Where the names do not tell",
        "replace": "1: stored bars that differ are overwritten",
    },
    max_upload_bytes=MAX_UPLOAD_BYTES,
)
def import_upload() -> Response:
    """Imports the uploaded files; one that cannot be read is in the report and the rest goes on."""
    form = _form()
    parts = services()
    # Real candles close by the real clock, simulated ones by the market's, which may run ahead.
    now_ms = max(SystemClock().now_ms(), parts.clock.now_ms())
    overrides = NameParts(form.venue, form.market, form.symbol, form.interval)
    sent = [(file.filename or "", file.stream) for file in request.files.getlist("files")]
    with unpacked_uploads(parts.settings.uploads_dir, sent) as (base, paths):
        report = import_paths(
            paths,
            parts.candles,
            parts.funding,
            overrides,
            replace=form.replace in {"1", "true", "on"},
            now_ms=now_ms,
            base=base,
        )
    return render(report.to_dict())


def _form() -> UploadForm:
    given = {name: value.strip() for name, value in request.form.items() if value.strip() and name != "csrf_token"}
    if set(request.files) - {"files"}:
        raise InvalidValue(_("Send the files in the form field 'files'."), field="files")
    try:
        return UploadForm.model_validate(given)
    except ValidationError as error:
        raise invalid(error, UploadForm) from error
