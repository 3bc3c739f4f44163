"""Spans of one service, carried from message to message by W3C's `traceparent`; off, they cost nothing.

No span holds a text of anybody's: attributes are names, numbers and ids of ours; of an error its code alone.
https://www.w3.org/TR/trace-context/ · https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode, Tracer, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.kernel.errors import PlatformError
from shared.runtime.logs import bound

TRACEPARENT: Final = "traceparent"
_NOWHERE: Final = Context()

Attributes: TypeAlias = Mapping[str, str | bool | int | float]


class Tracing:
    """Made once by a service's composition root. Without a `tracer` nothing is traced."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    @property
    def is_on(self) -> bool:
        return self._tracer is not None

    @contextmanager
    def span(self, name: str, kind: SpanKind, attributes: Attributes) -> Iterator[Span]:
        """A part of what goes on here. Whatever is raised through it is told by its code."""
        if self._tracer is None:
            yield INVALID_SPAN
            return
        with self._entered(self.begin(name, kind, attributes)) as span:
            yield span

    @contextmanager
    def span_of(
        self, traceparent: str | None, name: str, kind: SpanKind, attributes: Attributes
    ) -> Iterator[Span]:
        """What somebody else has begun, or nobody; the log lines inside have its `trace_id`."""
        if self._tracer is None:
            yield INVALID_SPAN
            return
        span = self.begin(name, kind, attributes, parent=self.context_of(traceparent))
        with bound(trace_id=format_trace_id(span.get_span_context().trace_id)), self._entered(span):
            yield span

    def begin(
        self, name: str, kind: SpanKind, attributes: Attributes, *, parent: Context | None = None
    ) -> Span:
        """A span that its caller ends, and that nothing is inside of."""
        if self._tracer is None:
            return INVALID_SPAN
        return self._tracer.start_span(name, context=parent, kind=kind, attributes=attributes)

    def traceparent(self) -> str | None:
        """What a message of this moment carries on; None outside of a trace."""
        if self._tracer is None:
            return None
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get(TRACEPARENT)

    def context_of(self, traceparent: str | None) -> Context:
        """Return where a trace goes on; for what is missing or malformed, where a new one begins."""
        if traceparent is None:
            return _NOWHERE
        return self._propagator.extract({TRACEPARENT: traceparent}, context=_NOWHERE)

    @contextmanager
    def _entered(self, span: Span) -> Iterator[Span]:
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield span
            except BaseException as error:
                fail(span, error_type(error))
                raise


OFF: Final = Tracing()
"""Traces nothing."""


def fail(span: Span, error: str) -> None:
    """Say that it failed, by a code or a class's name: a message could quote what nobody else may read."""
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def error_type(error: BaseException) -> str:
    return error.code if isinstance(error, PlatformError) else type(error).__name__


def run_attributes(message: object) -> dict[str, str]:
    """Return the run that a message is of, if it is of one."""
    run_id = message.get("run_id") if isinstance(message, Mapping) else getattr(message, "run_id", None)
    return {} if run_id is None else {"latchkey.run_id": str(run_id)[:64]}


def messaging(operation: str, kind: str, destination: str) -> dict[str, str]:
    """Attributes of a message; `operation` as RabbitMQ calls it, `kind` as OpenTelemetry does."""
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.name": destination,
    }
