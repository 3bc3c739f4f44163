"""One run, one trace, over all four services and the real bus; and nothing in it that must not be told."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from collections.abc import Set as AbstractSet

import pytest
import pytest_asyncio
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infra.bootstrap import Servers
from tests.acceptance.callers import MODEL, Caller
from tests.acceptance.house import House, eventually, running_house
from tests.collector import Collector, attributes, collecting
from tests.gate import free_port
from tests.nursery import Nursery
from tests.realm import temporary_realm
from tests.traces import traces

pytestmark = pytest.mark.acceptance

SERVICES = {"api_edge", "key_vault", "inference", "billing"}
PARTS = ("api_edge", "key_vault", "billing", "inference-1")
ALWAYS = {
    ("api_edge", "POST /v1/chat/completions"),
    ("api_edge", "publish inference"),
    ("inference", "process inference.runs"),
    ("inference", "chat gpt-4o-mini"),
    ("inference", "publish usage"),
    ("billing", "process billing.usage"),
}
OF_A_FIRST = ALWAYS | {
    ("inference", "key_vault.resolve.v1"),
    ("key_vault", "key_vault.resolve.v1"),
    ("inference", "billing.authorize.v1"),
    ("billing", "billing.authorize.v1"),
}


def traced_by(url: str) -> dict[str, dict[str, str]]:
    return {part: {"LATCHKEY_TRACES__ENDPOINT": url} for part in PARTS}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest_asyncio.fixture(scope="module")
async def _traced(
    servers: Servers, parents: Nursery, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> AsyncIterator[House]:
    folder, env = tmp_path_factory.mktemp("traced"), traced_by(collector.url)
    async with (
        temporary_realm(servers, folder) as realm,
        running_house(realm, folder, workers=1, gated=False, env=env, parents=parents) as house,
    ):
        yield house


@pytest_asyncio.fixture
async def traced(_traced: House) -> House:
    """The house, whole, and all of it traced by the good collector."""
    await _traced.restore()
    return _traced


@pytest_asyncio.fixture(params=["down", "slow"])
async def badly_traced(request: pytest.FixtureRequest, traced: House) -> AsyncIterator[House]:
    """The same house, whose services were all started again with a bad collector."""
    with collecting(slow_s=1.5) as slow:
        url = slow.url if request.param == "slow" else f"http://127.0.0.1:{free_port()}"
        parts = [traced.parts[name] for name in PARTS]
        await asyncio.gather(*(part.stop() for part in parts))
        await asyncio.gather(*(part.start(**traced_by(url)[part.name]) for part in parts))
        await traced.wait_ready()
        yield traced
        await asyncio.gather(*(part.stop() for part in parts))


async def ask(
    caller: Caller, trace_id: str, prompt: str, *, flow: str = "chat", key: str | None = None, **body: object
) -> tuple[int, str]:
    """Return status and run id. `key`: for this request alone."""
    own = {} if key is None else {"X-OpenAI-Key": key}
    trace = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    answer = await caller.http.post(
        "/v1/chat/completions",
        json={"model": MODEL, "messages": [{"role": "user", "content": prompt}], **body},
        headers={"Latchkey-Flow": flow, **trace, **own},
    )
    return answer.status_code, answer.headers["latchkey-run-id"]


async def whole_trace(
    collector: Collector, trace_id: str, parts: AbstractSet[tuple[str, str]] = ALWAYS
) -> list[tuple[str, Span]]:
    """The trace, once all of `parts` are there: each service exports when its own second is over."""

    async def is_whole() -> bool:
        return parts <= {(service, span.name) for service, span in collector.trace(trace_id)}

    await eventually(is_whole, f"the trace has all of {sorted(parts)}")
    return collector.trace(trace_id)


async def test_a_run_is_one_connected_trace(traced: House, collector: Collector) -> None:
    payer, trace_id = await traced.caller("payer"), secrets.token_hex(16)
    await traced.grant(payer, 1_000_000)
    status, run_id = await ask(payer, trace_id, "traced", flow="deep_analysis", max_tokens=50, stream=True)
    assert status == 200
    found = await whole_trace(collector, trace_id, OF_A_FIRST)

    assert {service for service, _ in found} == SERVICES
    ids = {span.span_id for _, span in found}
    roots = [span for _, span in found if span.parent_span_id not in ids]
    assert [span.name for span in roots] == ["POST /v1/chat/completions"]
    assert not any(span.status.code == span.status.STATUS_CODE_ERROR for _, span in found)
    (call,) = [span for _, span in found if span.name == "chat gpt-4o-mini"]
    told = attributes(call)
    assert call.kind == Span.SPAN_KIND_CLIENT
    assert (
        told.items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": "gpt-4o-mini",
            "latchkey.run_id": run_id,
            "latchkey.key_source": "platform",
        }.items()
    )
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert told["gen_ai.usage.input_tokens"] > 0
    assert told["gen_ai.usage.output_tokens"] > 0
    assert [event.name for event in call.events] == ["gen_ai.first_token"]
    for service in SERVICES - {"billing"}:
        part = "inference-1" if service == "inference" else service
        lines = [json.loads(line) for line in traced.logs()[part].splitlines() if run_id in line]
        assert any(line.get("trace_id") == trace_id for line in lines), service


async def test_nothing_that_was_said_and_no_key_is_exported(traced: House, collector: Collector) -> None:
    key, prompt = f"sk-sim-{secrets.token_hex(16)}", f"canary-{secrets.token_hex(8)}"
    owner, trace_id = await traced.caller("owner"), secrets.token_hex(16)
    await owner.store_key(key)
    assert (await ask(owner, trace_id, f"{prompt}"))[0] == 200
    failed = secrets.token_hex(16)
    assert (await ask(owner, failed, f"[simulate status=500] {prompt}"))[0] == 502
    await whole_trace(collector, trace_id)
    brought, of_request = f"sk-sim-{secrets.token_hex(16)}", secrets.token_hex(16)
    assert (await ask(owner, of_request, prompt, key=brought, stream=True))[0] == 200
    by_request = await whole_trace(collector, of_request)
    found = await whole_trace(collector, failed)

    (streamed,) = [span for _, span in by_request if span.name == "chat gpt-4o-mini"]
    assert attributes(streamed)["latchkey.key_source"] == "request"
    (call,) = [span for _, span in found if span.name == "chat gpt-4o-mini"]
    assert call.status.code == call.status.STATUS_CODE_ERROR
    assert call.status.message == ""
    assert attributes(call)["error.type"] == "provider_error"
    assert list(call.events) == []
    for secret in (key, brought, prompt, owner.token):
        assert traces(secret, collector.bodies) == []


async def test_a_malformed_traceparent_is_nobodys(traced: House, collector: Collector) -> None:
    caller = await traced.caller()
    await caller.store_key("sk-sim-malformed-00112233")
    answer = await caller.http.post(
        "/v1/chat/completions",
        json={"model": MODEL, "messages": [{"role": "user", "content": "hi"}]},
        headers={"traceparent": f"00-{'0' * 32}-{'1' * 16}-01"},
    )
    assert answer.status_code == 200
    run_id = answer.headers["latchkey-run-id"]

    def roots() -> list[Span]:
        edge = [span for service, span in collector.spans() if service == "api_edge"]
        return [span for span in edge if attributes(span).get("latchkey.run_id") == run_id]

    async def is_told() -> bool:
        return any(span.kind == Span.SPAN_KIND_SERVER for span in roots())

    await eventually(is_told, "the edge has told of it")
    (root,) = [span for span in roots() if span.kind == Span.SPAN_KIND_SERVER]
    assert root.parent_span_id == b""
    assert root.trace_id != bytes(16)


async def test_a_bad_collector_hurts_no_run(badly_traced: House) -> None:
    caller = await badly_traced.caller()
    await caller.store_key("sk-sim-no-collector-0011")
    await ask(caller, secrets.token_hex(16), "warm up")
    for _ in range(20):
        began = time.perf_counter()
        status, _run_id = await ask(caller, secrets.token_hex(16), "hello")
        assert status == 200
        assert time.perf_counter() - began < 1.0
