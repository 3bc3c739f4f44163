"""Handlers of a queue, with a span for every message that comes out of a trace."""

from collections.abc import Sequence

from opentelemetry.trace import Span, SpanKind

from shared.kernel.errors import InvalidRequestError
from shared.runtime.batches import BatchHandler, Verdicts
from shared.runtime.delivery import Delivery, Handler
from shared.runtime.tracing import Tracing, error_type, fail, messaging, run_attributes


def traced_consumer(queue: str, handler: Handler, tracing: Tracing) -> Handler:
    """A request that waits for its answer has its span where it is answered, by name."""
    if not tracing.is_on:
        return handler

    async def traced(delivery: Delivery) -> None:
        if delivery.correlation_id is not None:
            await handler(delivery)
            return
        attributes = _attributes(queue, delivery)
        with tracing.span_of(delivery.traceparent, f"process {queue}", SpanKind.CONSUMER, attributes):
            await handler(delivery)

    return traced


def traced_batches(queue: str, handler: BatchHandler, tracing: Tracing) -> BatchHandler:
    """Each message has a span in its own trace, as long as the batch takes. One of no trace has none."""
    if not tracing.is_on:
        return handler

    async def traced(deliveries: Sequence[Delivery]) -> Verdicts:
        spans = [_begin(queue, delivery, tracing, len(deliveries)) for delivery in deliveries]
        try:
            verdicts = await handler(deliveries)
        except BaseException as error:
            _end(spans, [error] * len(spans))
            raise
        _end(spans, verdicts)
        return verdicts

    return traced


def _begin(queue: str, delivery: Delivery, tracing: Tracing, messages: int) -> Span | None:
    if delivery.traceparent is None:
        return None
    attributes = _attributes(queue, delivery) | {"messaging.batch.message_count": messages}
    parent = tracing.context_of(delivery.traceparent)
    return tracing.begin(f"process {queue}", SpanKind.CONSUMER, attributes, parent=parent)


def _end(spans: Sequence[Span | None], verdicts: Sequence[BaseException | None]) -> None:
    for span, verdict in zip(spans, verdicts, strict=True):
        if span is None:
            continue
        if verdict is not None:
            fail(span, error_type(verdict))
        span.end()


def _attributes(queue: str, delivery: Delivery) -> dict[str, str | bool | int]:
    redelivered = {"latchkey.redelivered": True} if delivery.redelivered else {}
    return {**messaging("process", "process", queue), **redelivered, **_run(delivery)}


def _run(delivery: Delivery) -> dict[str, str]:
    try:
        return run_attributes(delivery.envelope.data)
    except InvalidRequestError:
        return {}
