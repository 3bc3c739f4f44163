"""What a service counts, for Prometheus to read at `/metrics` on a port of its own.

Labels are names of ours (codes, outcomes, queues, path templates), never a user's id, a key or a text.
A counter whose first event matters is there before it, at 0: Prometheus sees no increase in what comes as 1.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from shared.runtime.settings import MetricsSettings, SettingsError

BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class BusMeters:
    """What every service counts of its messages."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rpc = Histogram(
            "latchkey_rpc_seconds",
            "Answering a request on the bus.",
            ("request", "code"),
            registry=registry,
            buckets=BUCKETS_S,
        )
        self._dead = Counter(
            "latchkey_dead_letters", "Messages that never can be handled.", ("queue",), registry=registry
        )
        self._returned = Counter(
            "latchkey_redeliveries",
            "Messages whose handling failed: they come again.",
            ("queue",),
            registry=registry,
        )

    def answered(self, request: str, code: str, seconds: float) -> None:
        self._rpc.labels(request, code).observe(seconds)

    def consuming(self, queue: str) -> None:
        """Begin to count a queue's messages: none yet."""
        self._dead.labels(queue)
        self._returned.labels(queue)

    def dead_lettered(self, queue: str) -> None:
        self._dead.labels(queue).inc()

    def returned(self, queue: str) -> None:
        self._returned.labels(queue).inc()


def service_registry() -> CollectorRegistry:
    """Return a registry that tells of this process already: its memory, CPU time, open files, collections."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


@asynccontextmanager
async def metrics_served(registry: CollectorRegistry, settings: MetricsSettings) -> AsyncIterator[None]:
    """Serve `/metrics` while in the context, when a port is set. Raises SettingsError when it is taken."""
    if settings.port is None:
        yield
        return
    try:
        server, thread = start_http_server(settings.port, addr=settings.host, registry=registry)
    except OSError as error:
        raise SettingsError(f"LATCHKEY_METRICS__PORT: {error.strerror}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
