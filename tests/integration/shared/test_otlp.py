"""Spans that are left when a service leaves: sent to a collector that takes them, waited for only so long."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.trace import SpanKind

from shared.kernel.secret import SecretText
from shared.runtime.otlp import tracing_to
from shared.runtime.settings import ServiceSettings, TracesSettings
from tests.collector import collecting
from tests.gate import free_port

pytestmark = pytest.mark.integration

_FULL = 5000
"""More spans than the queue holds."""


def _to(url: str) -> ServiceSettings:
    amqp, postgres = SecretText("amqp://unused"), SecretText("postgresql://unused")
    return ServiceSettings(amqp_url=amqp, postgres_url=postgres, traces=TracesSettings(endpoint=url))


@contextmanager
def _hanging() -> Iterator[str]:
    """A collector that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def _leave(url: str, spans: int) -> float:
    """Return how many seconds the leaving took, after so many spans."""
    async with tracing_to(_to(url), "billing") as tracing:
        for _ in range(spans):
            tracing.begin("x", SpanKind.INTERNAL, {}).end()
        began = time.perf_counter()
    return time.perf_counter() - began


async def test_what_is_left_is_sent() -> None:
    with collecting() as collector:
        await _leave(collector.url, 10)
        assert len(collector.spans()) == 10


async def test_a_collector_that_hangs_holds_nobody_up() -> None:
    with _hanging() as url:
        assert await _leave(url, _FULL) < 5.0


async def test_a_collector_that_is_away_holds_nobody_up() -> None:
    assert await _leave(f"http://127.0.0.1:{free_port()}", _FULL) < 5.0
