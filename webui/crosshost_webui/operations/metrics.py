# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus reads: counted as requests come, and asked of the database when it is read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.datastructures import Headers
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..db.engine import Database
from . import logs, store

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)  # seconds
Values = dict[tuple[str, ...], float]  # by labels
STREAM = "text/event-stream"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Of one server; a registry of its own, so that two in a process do not mix."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "crosshost_webui_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "crosshost_webui_request_seconds", "Time until the answer began.", ("method", "route"),
            registry=self.registry, buckets=BUCKETS,
        )  # fmt: skip
        self.faults = Counter(
            "crosshost_webui_faults", "Requests that ended in a fault.", registry=self.registry
        )
        self.under_way = Gauge(
            "crosshost_webui_requests_under_way", "Requests being answered.", registry=self.registry
        )
        self.streams = Gauge(
            "crosshost_webui_streams", "Streams that are open to browsers.", registry=self.registry
        )
        self.background = Counter(
            "crosshost_webui_background",
            "Background work by its outcome.",
            ("task", "outcome"),
            registry=self.registry,
        )
        ProcessCollector(namespace="crosshost_webui", registry=self.registry)
        self.registry.register(_Stored(database))

    def text(self) -> bytes:
        """In Prometheus' text format, version 0.0.4."""
        return generate_latest(self.registry)


class Observed:
    """Counts and times each request under its route's template: paths hold names, of which there is no end."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        logs.request_id.set(str(scope.get("state", {}).get("request_id", "")))
        began = time.perf_counter()
        with ExitStack() as under_way:
            under_way.enter_context(self.metrics.under_way.track_inprogress())

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._note(scope, message["status"], time.perf_counter() - began)
                    if Headers(raw=message["headers"]).get("content-type", "").startswith(STREAM):
                        under_way.enter_context(self.metrics.streams.track_inprogress())
                await send(message)

            await self.app(scope, receive, watched)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = _template(scope)
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.labels(method, route, str(status)).inc()
        self.metrics.seconds.labels(method, route).observe(seconds)


def _template(scope: Scope) -> str:
    """The path as its route declares it, with the prefixes of the routers that it is in."""
    if isinstance(scope.get("endpoint"), StaticFiles):
        return "/static"
    context = scope.get("fastapi", {}).get("effective_route_context")
    return str(getattr(context or scope.get("route"), "path", "unmatched"))


class _Stored(Collector):
    """What the database tells. Only sums over tables that stay small, or that an index gives."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering asks no database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        with self.database.read() as s:
            runs = store.runs_by_status(s)
            oldest = store.queued_since(s)
            pools = store.pools(s)
            users = store.users_by_role(s)
        yield _family(
            "runs", "Runs kept, by status.", ("status",), {(name,): count for name, count in runs.items()}
        )
        yield _single("runs_queued_seconds", "How long the oldest queued run has waited.", oldest)
        yield _family(
            "users", "Users who can sign in, by role.", ("role",), {(name,): n for name, n in users.items()}
        )
        size: Values = {(one.scope, one.name, one.kind): one.size for one in pools}
        used: Values = {(one.scope, one.name, one.kind): one.used for one in pools}
        labels = ("scope", "pool", "kind")
        yield _family("pool_size", "Slots of a pool. The addresses of all subnets are one.", labels, size)
        yield _family("pool_used", "Slots that are allocated or in quarantine.", labels, used)
        if self.database.file is not None:
            files = (self.database.file, self.database.file.with_name(f"{self.database.file.name}-wal"))
            size_now = sum(one.stat().st_size for one in files if one.exists())
            yield _single("database_bytes", "Size of the embedded database with its log.", size_now)


def _family(name: str, text: str, labels: tuple[str, ...], values: Values) -> Metric:
    found = GaugeMetricFamily(f"crosshost_webui_{name}", text, labels=labels)
    for key, value in values.items():
        found.add_metric(key, value)
    return found


def _single(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"crosshost_webui_{name}", text, value=value)
