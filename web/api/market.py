"""/api/market: what the workspace's market says now."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import Field

from domain.market import Quote
from runtime.services import services
from web.answers import render
from web.api.klines import Kline, KlineQuery, kline_rows, read_klines, source_headers
from web.openapi import api_blueprint, documented
from web.parsing import query
from web.schemas import Answer, Query

bp = api_blueprint("market")

MAX_DEPTH = 500


class MarketQuery(Query):
    market: Literal["perp", "spot"] = Field("perp", description="Which of the coin's markets")


class TickerQuery(MarketQuery):
    symbols: str | None = Field(None, description="Coins, separated by commas; silent: all active ones")


class BookQuery(MarketQuery):
    depth: int = Field(20, ge=1, le=MAX_DEPTH, description="Levels on each side")


class QuoteRow(Answer):
    """`symbol` is the coin; a number that the source does not know is null."""

    symbol: str
    price: float
    bid: float
    ask: float
    change_24h: float | None
    change_percent_24h: float | None
    high_24h: float | None
    low_24h: float | None
    volume_24h: float | None
    source: str
    instrument: str = Field(description="What the source calls it")
    timestamp: int
    age_ms: int
    stale: bool


class Book(Answer):
    """Levels are [price, size in coins], best first."""

    symbol: str
    source: str
    instrument: str
    timestamp: int
    age_ms: int
    stale: bool
    bids: list[list[float]]
    asks: list[list[float]]


class SymbolRow(Answer):
    """One instrument of one coin in the workspace's market."""

    symbol: str
    name: str
    category: str | None
    source: str
    market: str
    instrument: str
    tick: float | None
    lot: float | None
    min_notional: float | None
    max_leverage: float | None


def quote_row(quote: Quote) -> dict[str, Any]:
    """A quote as the contract names its parts."""
    freshness = services().market.freshness(quote)
    return {
        "symbol": quote.coin,
        "price": quote.price,
        "bid": quote.bid,
        "ask": quote.ask,
        "change_24h": quote.change_24h,
        "change_percent_24h": quote.change_percent_24h,
        "high_24h": quote.high_24h,
        "low_24h": quote.low_24h,
        "volume_24h": quote.volume_24h,
        "source": quote.source,
        "instrument": quote.symbol,
        "timestamp": quote.venue_time_ms,
        "age_ms": freshness.age_ms,
        "stale": freshness.stale,
    }


@bp.get("/quote/<path:coin>")
@documented(query=MarketQuery, answer=QuoteRow)
def get_quote(coin: str) -> Response:
    """The latest price of a coin."""
    asked = query(MarketQuery)
    symbol = services().catalogue.parse_coin(coin).symbol
    return render(quote_row(services().market.quote(symbol, market=asked.market)))


@bp.get("/stats/<path:coin>")
@documented(query=MarketQuery, answer=QuoteRow)
def get_stats(coin: str) -> Response:
    """A coin's last 24 hours."""
    return get_quote(coin)


@bp.get("/ticker")
@documented(query=TickerQuery, answer=list[QuoteRow])
def list_quotes() -> Response:
    """The latest prices of all active coins that have one, or of those named."""
    asked = query(TickerQuery)
    catalogue = services().catalogue
    if asked.symbols is None:
        coins = [coin.symbol for coin in catalogue.list_coins()]
    else:
        coins = [catalogue.parse_coin(name).symbol for name in asked.symbols.split(",") if name.strip()]
    found = services().market.quotes(dict.fromkeys(coins), market=asked.market)
    return render([quote_row(quote) for quote in found.values()])


@bp.get("/symbols")
@documented(answer=list[SymbolRow])
def list_symbols() -> Response:
    """What can be traded in the workspace's market."""
    market = services().market
    return render(
        [
            {
                "symbol": coin.symbol,
                "name": coin.name,
                "category": coin.category,
                "source": instrument.venue,
                "market": instrument.market,
                "instrument": instrument.symbol,
                "tick": instrument.tick,
                "lot": instrument.lot,
                "min_notional": instrument.min_notional,
                "max_leverage": instrument.max_leverage,
            }
            for coin in services().catalogue.list_coins()
            for instrument in market.instruments(coin.symbol)
        ]
    )


@bp.get("/ohlcv/<path:coin>")
@documented(query=KlineQuery, answer=list[Kline])
def list_ohlcv(coin: str) -> Response:
    """The same candles as /api/klines."""
    found = read_klines(coin, query(KlineQuery))
    return render(kline_rows(found), headers=source_headers(found))


@bp.get("/orderbook/<path:coin>")
@documented(query=BookQuery, answer=Book)
def get_order_book(coin: str) -> Response:
    """Bids and asks around the price."""
    asked = query(BookQuery)
    symbol = services().catalogue.parse_coin(coin).symbol
    market = services().market
    book = market.order_book(symbol, asked.depth, market=asked.market)
    freshness = market.freshness_at(book.time_ms)
    return render(
        {
            "symbol": book.coin,
            "source": book.source,
            "instrument": book.symbol,
            "timestamp": book.time_ms,
            "age_ms": freshness.age_ms,
            "stale": freshness.stale,
            "bids": book.bids,
            "asks": book.asks,
        }
    )
