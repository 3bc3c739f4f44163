"""Spans out to a collector, by OTLP over HTTP, in a thread beside the service: no run ever waits for it.

What the collector does not take in time is dropped. A service that leaves waits at most three seconds for it:
one second for what is left, and the two that one export may take.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from shared.runtime.settings import ServiceSettings
from shared.runtime.tracing import OFF, Tracing

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider

_EXPORT_S: Final = 2.0
_LEAVING_S: Final = 1.0
_EVERY_MS: Final = 1000
_QUEUE_MAX: Final = 4096
_BATCH_MAX: Final = 512
_ATTRIBUTE_CHARS_MAX: Final = 256


@asynccontextmanager
async def tracing_to(settings: ServiceSettings, service: str) -> AsyncIterator[Tracing]:
    """Trace while in the context, when an endpoint is set; at its end what is left is sent (see above)."""
    if settings.traces.endpoint is None:
        yield OFF
        return
    exporter, provider = _made(settings, settings.traces.endpoint, service)
    try:
        yield Tracing(provider.get_tracer("latchkey"))
    finally:
        # The SDK's own patience is half a minute; closed, its exporter lets what is still queued go at once.
        patience = asyncio.get_running_loop().call_later(_LEAVING_S, exporter.shutdown)
        try:
            await asyncio.to_thread(provider.shutdown)
        finally:
            patience.cancel()


def _made(
    settings: ServiceSettings, endpoint: str, service: str
) -> tuple["OTLPSpanExporter", "TracerProvider"]:
    # Not at the top: 40 modules that a service without traces need not have.
    import requests  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    session = requests.Session()
    session.trust_env = False
    exporter = OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_S, session=session
    )
    ratio = TraceIdRatioBased(settings.traces.sample_ratio)
    provider = TracerProvider(
        # A client may name its trace, and may leave it out; that it is kept is ours to say.
        sampler=ParentBased(ratio, remote_parent_sampled=ratio),
        resource=Resource.create(
            {
                "service.name": service,
                "service.namespace": settings.realm,
                "service.instance.id": settings.instance,
            }
        ),
        span_limits=SpanLimits(max_attribute_length=_ATTRIBUTE_CHARS_MAX),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=_QUEUE_MAX,
            schedule_delay_millis=_EVERY_MS,
            max_export_batch_size=_BATCH_MAX,
        )
    )
    return exporter, provider
