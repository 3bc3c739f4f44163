"""What the edge counts for Prometheus."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram

from shared.runtime.metrics import BUCKETS_S

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class EdgeMeters:
    """`waiting`: how many runs somebody waits for here."""

    def __init__(self, registry: CollectorRegistry, waiting: Callable[[], int]) -> None:
        self._requests = Histogram(
            "latchkey_http_request_seconds",
            "HTTP requests, streams to their end.",
            ("method", "path", "status", "code"),
            registry=registry,
            buckets=BUCKETS_S,
        )
        waited = Gauge("latchkey_runs_waited_for", "Runs that clients wait for here.", registry=registry)
        waited.set_function(waiting)

    def request(self, method: str, path: str, status: int, code: str | None, seconds: float) -> None:
        """Count a request. `path`: its template; a method that HTTP does not have counts as `other`."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, path, status, code or "").observe(seconds)
