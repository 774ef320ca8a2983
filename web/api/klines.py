"""/api/klines: candles of a coin, from the workspace's market or from the store."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Response
from flask_babel import gettext as _
from pydantic import Field

from data_aggregator import MAX_BARS, Candles
from domain.errors import InvalidValue, NotFound
from domain.market import Bars
from domain.times import END_OF_TIME_MS
from runtime.services import services
from web.answers import render
from web.openapi import api_blueprint, documented
from web.parsing import query
from web.schemas import Answer, Ms, Query

bp = api_blueprint("klines")

Interval = Literal["1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"]
# As folders of the candle store are named, so that nothing else reaches it.
Venue = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,20}$")]


class KlineQuery(Query):
    interval: Interval = "1h"
    limit: int = Field(100, ge=1, le=MAX_BARS, description="Closed bars at most; the newest unless start is given")
    start: Ms | None = Field(None, description="Open of the first bar, ms UTC")
    end: Ms | None = Field(None, description="Bars that open after this are left out, ms UTC")
    venue: Venue | None = Field(None, description="A venue whose candles are stored; silent: the workspace's market")
    market: str | None = Field(None, description="spot, perp or perp-mark")
    forming: Literal["0", "1"] = Field("0", description="1: the bar in progress too")


class Kline(Answer):
    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@bp.get("/<path:coin>")
@documented(query=KlineQuery, answer=list[Kline])
def list_klines(coin: str) -> Response:
    """Candles of a coin, oldest first; where they come from and how old they are is in the headers."""
    found = read_klines(coin, query(KlineQuery))
    return render(kline_rows(found), headers=source_headers(found))


def read_klines(text: str, asked: KlineQuery) -> Candles:
    """The candles that a request names; `text` is BTC, BTCUSDT, BTC-USDT or BTC/USDT."""
    if asked.start is not None and asked.end is not None and asked.start > asked.end:
        raise InvalidValue(_("'start' lies after 'end'; swap them."), field="start")
    try:
        coin = services().catalogue.parse_coin(text).symbol
    except NotFound:
        if asked.venue is None:
            raise
        coin = text.strip()  # a stored series needs no coin in the catalogue
    return services().market.klines(
        coin,
        asked.interval,
        asked.limit,
        None if asked.start is None else min(asked.start, END_OF_TIME_MS),
        None if asked.end is None else min(asked.end, END_OF_TIME_MS) + 1,
        venue=asked.venue.lower() if asked.venue else None,
        market=asked.market,
        forming=asked.forming == "1",
    )


def kline_rows(found: Candles) -> list[dict[str, Any]]:
    bars: Bars = found.bars
    columns = (column.tolist() for column in bars.columns())
    rows = [
        {"timestamp": time, "open": open_, "high": high, "low": low, "close": close, "volume": volume}
        for time, open_, high, low, close, volume in zip(*columns, strict=True)
    ]
    if found.forming is not None:
        bar = found.forming
        rows.append(
            {
                "timestamp": bar.time,
                "open": bar.open,
                "high": bar.high,
                "low": bar.low,
                "close": bar.close,
                "volume": bar.volume,
            }
        )
    return rows


def source_headers(found: Candles) -> dict[str, str]:
    sourced = found.sourced
    headers = {
        "X-Data-Source": sourced.source,
        "X-Data-Market": sourced.market,
        "X-Data-Age-Ms": str(sourced.age_ms),
    }
    return headers | ({"X-Data-Note": sourced.note} if sourced.note else {})
