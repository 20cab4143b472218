"""What Prometheus reads: requests, their seconds, what waits, how old the run is."""

from __future__ import annotations

import datetime
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

from mmx import __version__
from mmx.serve.service import Service

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
METHODS = ("GET", "POST", "HEAD")  # others are one, so that strangers cannot make many series


class Metrics:
    """Counters of one server."""

    def __init__(self, service: Service) -> None:
        self._service, self._registry = service, CollectorRegistry()
        names = ["address", "method", "status"]
        self._requests = Counter("mmx_requests", "Answers", names, registry=self._registry)
        self._seconds = Histogram(
            "mmx_request_seconds", "From the request to the end of the answer", ["address"],
            buckets=SECONDS, registry=self._registry,
        )  # fmt: skip
        self._gauges = {
            name: Gauge(f"mmx_{name}", what, registry=self._registry)
            for name, what in (
                ("items", "Items in the catalogue"),
                ("users", "Users of the first run"),
                ("run_age_seconds", "Since the first run was made"),
                ("swaps", "Newer runs or stores that were taken"),
                ("stale", "1 where a newer run or store cannot be served"),
            )
        }
        self._waiting = Gauge("mmx_waiting", "Requests that compute or wait", ["pool"],
                              registry=self._registry)  # fmt: skip
        Gauge("mmx_info", "Version", ["version"], registry=self._registry).labels(__version__).set(
            1
        )

    def count(self, scope: Scope, status: int, began: float) -> None:
        """Count an answer that began at ``time.perf_counter()``."""
        address = getattr(scope.get("route"), "path", "other").replace(":path", "")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._requests.labels(address, method, str(status)).inc()
        self._seconds.labels(address).observe(time.perf_counter() - began)

    def text(self) -> bytes:
        """In Prometheus' own format."""
        service, now = self._service, self._service.snapshot
        age = datetime.datetime.now(datetime.UTC) - now.first.made
        values = {"items": len(now.items), "users": len(now.first.users), "swaps": service.swaps,
                  "run_age_seconds": age.total_seconds(),
                  "stale": service.problem is not None}  # fmt: skip
        for name, value in values.items():
            self._gauges[name].set(value)
        for pool in service.pools:
            self._waiting.labels(pool.name).set(pool.inside)
        return generate_latest(self._registry)
