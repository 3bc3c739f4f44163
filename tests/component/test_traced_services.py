"""Services on in-memory parts, with their spans kept: what is told of a run, an answer, a refusal."""

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from services.inference.adapters.traced_provider import TracedProvider
from services.inference.domain.answer_facts import answered_model, finish_reasons
from services.inference.ports import Piece, ProviderCall
from shared.contracts.credits import Balance, GetBalance
from shared.kernel.errors import InsufficientCreditsError, ProviderError
from shared.kernel.ids import new_id
from shared.runtime.delivery import Delivery
from shared.runtime.rpc import Route, RpcServer
from tests.envelopes import event_body
from tests.fakes.bus import InMemoryBus
from tests.fakes.inference import CANARY, USAGE, InMemoryProvider, a_key
from tests.spans import Spans

pytestmark = pytest.mark.component

PROMPT = "canary prompt"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def a_call() -> ProviderCall:
    body = {"messages": [{"role": "user", "content": PROMPT}]}
    return ProviderCall(a_key(), "openai/gpt-4o-mini", body, run_id=new_id())


async def test_a_streamed_call_tells_its_first_token_and_no_word_of_it() -> None:
    spans, provider = Spans(), InMemoryProvider()
    texts = [
        '{"model":"gpt-4o-mini-1","choices":[{"delta":{"content":"secret words"},"finish_reason":null}]}',
        '{"model":"gpt-4o-mini-1","choices":[{"delta":{},"finish_reason":"stop"}]}',
    ]
    provider.scripts["mine"] = [*(Piece(text, 12, None) for text in texts), Piece('{"choices":[]}', 0, USAGE)]
    traced = TracedProvider(provider, spans.tracing)
    assert [piece.chars async for piece in traced.stream(a_call())] == [12, 12, 0]
    span = spans.one("chat gpt-4o-mini")
    told = span.attributes or {}
    assert span.kind is SpanKind.CLIENT
    assert told["gen_ai.response.model"] == "gpt-4o-mini-1"
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    assert told["gen_ai.usage.input_tokens"] == USAGE["prompt_tokens"]
    assert [event.name for event in span.events] == ["gen_ai.first_token"]
    for secret in (PROMPT, CANARY, "secret words"):
        assert secret not in spans.everything()


async def test_a_failed_call_tells_its_code() -> None:
    spans, provider = Spans(), InMemoryProvider()
    provider.scripts["mine"] = [ProviderError(CANARY)]
    with pytest.raises(ProviderError):
        await TracedProvider(provider, spans.tracing).complete(a_call())
    span = spans.one("chat gpt-4o-mini")
    assert (span.attributes or {})["error.type"] == "provider_error"
    assert span.status.status_code is StatusCode.ERROR
    assert CANARY not in spans.everything()


@pytest.mark.parametrize("told", [f"two words {PROMPT}", CANARY * 20, 7, None, {"a": 1}])
def test_what_does_not_look_like_a_name_is_not_told(told: object) -> None:
    assert answered_model({"model": told}) is None
    assert finish_reasons({"choices": [{"finish_reason": told}, None]}) == ()
    assert finish_reasons({"choices": told}) == ()


async def test_an_answered_request_goes_on_with_its_callers_trace() -> None:
    async def refuse(_: GetBalance) -> Balance:
        raise InsufficientCreditsError(CANARY)

    spans = Spans()
    bus = InMemoryBus("billing", tracing=spans.tracing)
    server = RpcServer(bus, "billing.rpc", [Route(GetBalance, refuse, callers=("api_edge",))])
    body = event_body(GetBalance(user_id="alice"), source="api_edge")
    await server.on_request(
        Delivery(body, "api_edge", reply_to="r", correlation_id="c", traceparent=TRACEPARENT)
    )
    span = spans.one(GetBalance.ROUTING_KEY)
    assert span.kind is SpanKind.SERVER
    assert format(span.context.trace_id, "032x") == TRACEPARENT[3:35]
    assert (span.attributes or {})["error.type"] == "insufficient_credits"
    assert CANARY not in spans.everything()
