"""What is published later than its run goes on with the run's trace."""

import pytest
from opentelemetry.trace import SpanKind

from services.inference.adapters.postgres import PostgresAttemptStore
from services.inference.adapters.postgres_outbox import PostgresOutbox
from services.inference.domain.attempt import Attempt, Ending, usage_event
from shared.contracts.usage import UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import INFERENCE, Outcome
from tests.fakes.inference import a_request
from tests.realm import PoolFor
from tests.spans import Spans

pytestmark = pytest.mark.integration

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_relayed_event_is_in_the_trace_of_its_run(pool_for: PoolFor) -> None:
    spans, pool, request = Spans(), await pool_for(INFERENCE), a_request()
    store, outbox = PostgresAttemptStore(pool, spans.tracing), PostgresOutbox(pool, spans.tracing)
    attempt = Attempt(request.run_id, 1, new_id(), "w", request.requested_at)
    with spans.tracing.span_of(TRACEPARENT, "run", SpanKind.CONSUMER, {}):
        assert await store.claim(attempt, request)
    await store.finish(usage_event(request, attempt, Ending(Outcome.REFUSED), request.requested_at), None)
    carried: dict[object, str | None] = {}

    async def publish(usage: UsageRecorded) -> None:
        carried[usage.usage_id] = spans.tracing.traceparent()

    while await outbox.relay(publish, ended_before_s=0, limit=100):
        pass
    traceparent = carried[attempt.usage_id]
    assert traceparent is not None
    assert traceparent.split("-")[1] == TRACEPARENT.split("-")[1]
