import pytest
from opentelemetry.trace import INVALID_SPAN, SpanKind, StatusCode, get_current_span

from shared.contracts.runs import CancelRun
from shared.kernel.errors import ProviderError
from shared.kernel.ids import new_id
from shared.runtime.delivery import Delivery
from shared.runtime.logs import get_logger
from shared.runtime.publisher import Publisher
from shared.runtime.traced_consuming import traced_batches, traced_consumer
from shared.runtime.tracing import Tracing
from tests.envelopes import event_body
from tests.logs import logging_as
from tests.spans import Spans

pytestmark = pytest.mark.unit

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
CANARY = "sk-canary-0123456789"


@pytest.fixture
def spans() -> Spans:
    return Spans()


def arrives(traceparent: str | None = TRACEPARENT) -> Delivery:
    body = event_body(CancelRun(run_id=new_id()), source="api_edge")
    return Delivery(body=body, sender="api_edge", traceparent=traceparent)


def test_a_trace_goes_on_from_message_to_message(spans: Spans) -> None:
    with spans.tracing.span_of(TRACEPARENT, "first", SpanKind.CONSUMER, {}):
        carried = spans.tracing.traceparent()
    assert carried is not None
    with spans.tracing.span_of(carried, "second", SpanKind.CONSUMER, {}):
        pass
    first, second = spans.one("first"), spans.one("second")
    assert first.parent is not None
    assert second.parent is not None
    assert format(first.parent.span_id, "016x") == PARENT
    assert second.parent.span_id == first.context.span_id
    assert format(second.context.trace_id, "032x") == TRACE


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "",
        "nonsense",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
    ],
)
def test_without_a_valid_one_a_trace_begins(spans: Spans, bad: str | None) -> None:
    with (
        spans.tracing.span_of(TRACEPARENT, "outer", SpanKind.SERVER, {}),
        spans.tracing.span_of(bad, "inner", SpanKind.SERVER, {}),
    ):
        pass
    assert spans.one("inner").parent is None
    assert format(spans.one("inner").context.trace_id, "032x") != TRACE


def test_an_error_is_told_by_its_code_alone(spans: Spans) -> None:
    for error in (ProviderError(CANARY), ValueError(CANARY)):
        with pytest.raises(type(error)), spans.tracing.span("failing", SpanKind.INTERNAL, {}):
            raise error
    typed, plain = spans.all()
    assert typed.attributes == {"error.type": "provider_error"}
    assert plain.attributes == {"error.type": "ValueError"}
    assert {span.status.status_code for span in (typed, plain)} == {StatusCode.ERROR}
    assert not typed.events
    assert CANARY not in spans.everything()


def test_log_lines_inside_have_the_trace_id(spans: Spans) -> None:
    with logging_as("inference") as log, spans.tracing.span_of(TRACEPARENT, "x", SpanKind.CONSUMER, {}):
        get_logger().info("something")
    assert log.lines[-1]["trace_id"] == TRACE


def test_off_nothing_is_traced_carried_or_wrapped() -> None:
    off = Tracing()

    async def handler(_: Delivery) -> None: ...

    async def batch(deliveries: object) -> list[None]:
        return []

    assert traced_consumer("q", handler, off) is handler
    assert traced_batches("q", batch, off) is batch
    assert off.traceparent() is None
    assert Publisher(service="billing", user="x")._headers() is None
    with off.span_of(TRACEPARENT, "x", SpanKind.CONSUMER, {}) as span:
        assert span is INVALID_SPAN
        assert get_current_span() is INVALID_SPAN


async def test_what_is_consumed_goes_on_with_its_trace(spans: Spans) -> None:
    async def handler(_: Delivery) -> None:
        assert spans.tracing.traceparent() is not None

    await traced_consumer("inference.runs", handler, spans.tracing)(arrives())
    span = spans.one("process inference.runs")
    assert format(span.context.trace_id, "032x") == TRACE
    assert (span.attributes or {})["messaging.system"] == "rabbitmq"


async def test_each_of_a_batch_is_told_in_its_own_trace(spans: Spans) -> None:
    async def handler(deliveries: object) -> list[Exception | None]:
        return [None, ProviderError(CANARY), None]

    batch = [arrives(), arrives(f"00-{'a' * 32}-{'b' * 16}-01"), arrives(None)]
    await traced_batches("billing.usage", handler, spans.tracing)(batch)
    first, second = spans.all()
    assert format(first.context.trace_id, "032x") == TRACE
    assert format(second.context.trace_id, "032x") == "a" * 32
    assert (second.attributes or {})["error.type"] == "provider_error"
    assert CANARY not in spans.everything()
