"""GET /metrics for Prometheus: requests, latency, models and their equity, the cache of prices."""

from __future__ import annotations

import time
from collections.abc import Iterator

import structlog
from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from data_aggregator import MarketData
from database import AccountSnapshot, Database, Model

log = structlog.get_logger(__name__)

# Seconds; a page should take less than one.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ModelCollector(Collector):
    """Models by status, and each one's equity at its latest snapshot, read when asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Metric]:
        latest = (
            select(AccountSnapshot.model_id, func.max(AccountSnapshot.timestamp_ms).label("newest"))
            .group_by(AccountSnapshot.model_id)
            .subquery()
        )
        with self._database.read() as session:
            counts = session.execute(select(Model.status, func.count()).group_by(Model.status)).all()
            equities = session.execute(
                select(Model.id, Model.name, AccountSnapshot.equity)
                .join(AccountSnapshot, AccountSnapshot.model_id == Model.id)
                .join(
                    latest,
                    (latest.c.model_id == AccountSnapshot.model_id) & (latest.c.newest == AccountSnapshot.timestamp_ms),
                )
            ).all()
        models = GaugeMetricFamily("curlew_models", "Models by status", labels=["status"])
        for status, count in counts:
            models.add_metric([status], count)
        yield models
        equity = GaugeMetricFamily("curlew_model_equity_dollars", "Equity at the last snapshot", labels=["id", "name"])
        for model_id, name, value in equities:
            equity.add_metric([str(model_id), name], float(value))
        yield equity


class CacheCollector(Collector):
    """How often a price, candle or order book was at hand."""

    def __init__(self, market: MarketData) -> None:
        self._market = market

    def collect(self) -> Iterator[Metric]:
        counts = self._market.cache_counts()
        asked = CounterMetricFamily("curlew_cache_lookups", "Lookups in the hot cache", labels=["result"])
        asked.add_metric(["hit"], counts.hits)
        asked.add_metric(["miss"], counts.misses)
        yield asked


def register_metrics(app: Flask) -> None:
    """Counts requests by route, and serves the counts with a registry of this app's own."""
    registry = CollectorRegistry()
    requests = Counter("curlew_http_requests", "Requests answered", ["method", "route", "status"], registry=registry)
    seconds = Histogram("curlew_http_request_seconds", "Time to answer", ["route"], buckets=_BUCKETS, registry=registry)
    services = app.extensions["curlew"]
    registry.register(ModelCollector(services.database))
    registry.register(CacheCollector(services.market))

    @app.before_request
    def _start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def _count(answer: Response) -> Response:
        # The rule, not the path: ids would make a time series each.
        route = request.url_rule.rule if request.url_rule else "unknown"
        method = request.method if request.method in _METHODS else "other"
        requests.labels(method, route, str(answer.status_code)).inc()
        if "started" in g:
            seconds.labels(route).observe(time.perf_counter() - g.started)
        return answer

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
