"""/api/funding: the stored funding rates."""

from __future__ import annotations

from flask import Response

from runtime.services import services
from web.answers import render
from web.openapi import api_blueprint, documented
from web.schemas import Answer, Ms

bp = api_blueprint("funding")


class FundingSeries(Answer):
    """`first` and `last`: when the oldest and the newest rate settled."""

    venue: str
    symbol: str
    rows: int
    first: Ms
    last: Ms


@bp.get("")
@documented(answer=list[FundingSeries])
def list_funding() -> Response:
    """Every stored series of funding rates, by venue and symbol."""
    return render(
        [
            {
                "venue": info.venue,
                "symbol": info.symbol,
                "rows": info.rows,
                "first": info.first_ms,
                "last": info.last_ms,
            }
            for info in services().funding.list()
        ]
    )
