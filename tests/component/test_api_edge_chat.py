"""`POST /v1/chat/completions`, whole: what workers are asked, what clients are told."""

import asyncio
from datetime import timedelta

import orjson
import pytest

from services.api_edge.domain.run_times import RunTimes
from shared.kernel.errors import (
    BusUnavailableError,
    DatabaseUnavailableError,
    InsufficientCreditsError,
    NotSentError,
    PlatformError,
    ProviderRateLimitedError,
    SystemKeyExhaustedError,
    UserApiKeyRequiredError,
)
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_worker import RESPONSE, Tell, chunk, fails, is_silent, key_use

pytestmark = pytest.mark.component

CHAT = "/v1/chat/completions"
ASK = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5}
STREAM = {**ASK, "stream": True}
EXHAUSTED = SystemKeyExhaustedError(retry_after_s=30, detail="OPENROUTER_SYSTEM_KEY_EXHAUSTED")


async def test_a_plain_run_is_answered_with_the_providers_own_json() -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post(CHAT, json=ASK)
    (run,) = edge.bus.requested
    assert answer.status_code == 200
    own, ours = answer.text[: len(RESPONSE) - 1], answer.json()["latchkey"]
    assert own == RESPONSE[:-1]
    assert list(answer.json()) == [*orjson.loads(RESPONSE), "latchkey"]
    assert (ours["run_id"], ours["key_source"]) == (str(run.run_id), "user")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["latchkey-run-id"] == str(run.run_id)
    assert answer.headers["latchkey-key-source"] == "user"
    assert edge.bus.cancelled == []
    assert len(edge.waiting) == 0


async def test_the_workers_get_all_they_need_and_nothing_more() -> None:
    edge = Edge(times=RunTimes(start_s=10, run_s=300))
    async with edge.client() as client:
        await client.post(CHAT, json={**ASK, "model": "gpt-4o-mini"}, headers={"Latchkey-Flow": "solver"})
    (run,) = edge.bus.requested
    assert (run.user_id, run.flow, run.policy) == ("alice", "solver", KeyPolicy.USER_KEY_REQUIRED)
    assert (run.provider, run.model, run.stream) == (KeyService.OPENAI, "openai/gpt-4o-mini", False)
    assert run.body == {"messages": ASK["messages"], "temperature": 0.5}
    assert run.reply_to == "reply.api_edge.test"
    assert (run.request_key, run.session_key, run.report_only) == (None, None, False)
    assert run.start_by - run.requested_at == timedelta(seconds=10)
    assert run.deadline - run.requested_at == timedelta(seconds=300)
    assert edge.runs.runs[run.run_id].user_id == "alice"


@pytest.mark.parametrize(
    ("header", "service"),
    [("X-OpenAI-Key", "openai"), ("X-Provider-Key", "openai"), ("X-OpenRouter-Key", "openrouter")],
)
async def test_a_key_in_a_header_is_sealed_for_this_run(header: str, service: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post(CHAT, json=ASK, headers={header: "sk-canary-123456"})
    (run,) = edge.bus.requested
    ((secret, binding),) = edge.sealer.sealed
    assert answer.status_code == 200
    assert run.request_key is not None
    assert run.request_key.service == service
    assert secret.reveal() == "sk-canary-123456"
    assert (binding.purpose, binding.user_id, binding.service) == ("request", "alice", service)
    assert (binding.run_id, binding.credential_id, binding.attempt) == (run.run_id, None, None)
    assert binding.expires_at - run.requested_at == timedelta(seconds=30)
    assert "sk-canary" not in run.model_dump_json()


async def test_a_gateways_key_is_bound_to_its_address() -> None:
    edge = Edge()
    headers = {"X-Gateway-Key": "vck-canary-123456", "X-Gateway-Base-URL": "https://gateway.example/v1"}
    async with edge.client() as client:
        answer = await client.post(CHAT, json=ASK, headers=headers)
    (run,), ((secret, binding),) = edge.bus.requested, edge.sealer.sealed
    assert answer.status_code == 200
    assert run.request_key is not None
    assert (run.provider, run.request_key.service) == ("openai", "gateway")
    assert run.request_key.base_url == binding.base_url == "https://gateway.example/v1"
    assert (secret.reveal(), binding.service) == ("vck-canary-123456", "gateway")


async def test_a_session_token_travels_sealed_and_beside_a_plain_key() -> None:
    edge = Edge()
    token = "lks_canary" + "a" * 40
    async with edge.client() as client:
        await client.post(CHAT, json=ASK, headers={"X-OpenRouter-Key": token})
        await client.post(CHAT, json=ASK, headers={"X-OpenRouter-Key": token, "X-OpenAI-Key": "sk-canary-1"})
    alone, both = edge.bus.requested
    assert alone.request_key is None
    assert alone.session_key is not None
    assert (alone.session_key.service, alone.session_key.base_url) == ("openrouter", None)
    assert both.request_key is not None
    assert (both.request_key.service, both.session_key is not None) == ("openai", True)
    assert [secret.reveal() for secret, _ in edge.sealer.sealed] == [token, "sk-canary-1", token]
    assert {binding.purpose for _, binding in edge.sealer.sealed} == {"request"}
    assert [binding.run_id for _, binding in edge.sealer.sealed] == [alone.run_id, both.run_id, both.run_id]
    assert "canary" not in alone.model_dump_json() + both.model_dump_json()


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"X-Gateway-Key": "canary-1"}, "x-gateway-base-url"),
        ({"X-Gateway-Key": "canary-1", "X-Gateway-Base-URL": "http://canary.example"}, "x-gateway-base-url"),
        ({"X-Gateway-Key": "can ary", "X-Gateway-Base-URL": "https://canary.example"}, "x-gateway-key"),
        ({"X-Provider-Key": "lks_can ary"}, "x-provider-key"),
    ],
)
async def test_a_bad_key_header_is_named_and_not_echoed(headers: dict[str, str], param: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post(CHAT, json=ASK, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert not any(value in answer.text + str(answer.headers) for value in headers.values())
    assert (edge.bus.requested, edge.sealer.sealed) == ([], [])


async def test_the_answer_tells_which_keys_were_used() -> None:
    async def falls_back(tell: Tell) -> None:
        failed = key_use(outcome=Outcome.FAILED, error_code="user_api_key_invalid")
        used = key_use(KeySource.PLATFORM, attempt=2, credential_id="platform:openai:1")
        tell.started(KeySource.USER)
        tell.started(KeySource.PLATFORM)
        tell.completed(RESPONSE, KeySource.PLATFORM, (failed, used))

    edge = Edge()
    edge.bus.worker = falls_back
    async with edge.client() as client:
        answer = await client.post(CHAT, json=ASK)
    told = answer.json()["latchkey"]
    assert answer.headers["latchkey-key-source"] == told["key_source"] == "platform"
    assert [(entry["key_source"], entry["outcome"]) for entry in told["apiKeyUsageLog"]] == [
        ("user", "failed"),
        ("platform", "completed"),
    ]
    assert told["apiKeyUsageSummary"]["by_key_source"] == {"user": 1, "platform": 1}


@pytest.mark.parametrize("flow", ["chat", "code_canvas"])
async def test_without_a_model_it_is_the_flows(flow: str) -> None:
    edge = Edge()
    async with edge.client() as client:
        answer = await client.post(CHAT, json={"messages": ASK["messages"]}, headers={"Latchkey-Flow": flow})
    (run,) = edge.bus.requested
    assert answer.status_code == 200
    assert run.model == edge.runs.runs[run.run_id].model == edge.flows.flows[flow].default_model


async def test_a_key_that_cannot_be_sealed_is_not_sent() -> None:
    edge = Edge()
    edge.sealer.has_key = False
    async with edge.client() as client:
        answer = await client.post(CHAT, json=ASK, headers={"X-OpenAI-Key": "sk-canary-123456"})
        without = await client.post(CHAT, json=ASK)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "vault_unavailable"
    assert "retry-after" in answer.headers
    assert without.status_code == 200
    assert len(edge.bus.requested) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserApiKeyRequiredError(service="openai"), 403),
        (InsufficientCreditsError(), 402),
        (ProviderRateLimitedError(retry_after_s=9), 429),
        (EXHAUSTED, 503),
    ],
)
@pytest.mark.parametrize("body", [ASK, STREAM], ids=["plain", "stream"])
async def test_a_workers_error_has_its_status(
    error: PlatformError, status: int, body: dict[str, object]
) -> None:
    edge = Edge()
    edge.bus.worker = fails(error, KeySource.PLATFORM)
    async with edge.client() as client:
        answer = await client.post(CHAT, json=body)
    (run,) = edge.bus.requested
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["code"] == error.code
    assert answer.json()["error"]["run_id"] == answer.headers["latchkey-run-id"] == str(run.run_id)
    assert answer.headers["latchkey-key-source"] == "platform"
    assert answer.headers.get("retry-after") == {429: "9", 503: "30"}.get(status)
    assert answer.json()["error"].get("detail") == error.detail
    assert edge.bus.cancelled == []


@pytest.mark.parametrize("body", [ASK, STREAM], ids=["plain", "stream"])
async def test_a_run_nobody_takes_is_given_up_and_cancelled(body: dict[str, object]) -> None:
    edge = Edge(times=RunTimes(start_s=-0.95, run_s=60))
    edge.bus.worker = is_silent
    async with edge.client() as client:
        answer = await client.post(CHAT, json=body)
    (run,) = edge.bus.requested
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "service_unavailable"
    assert answer.json()["error"]["service"] == "inference"
    assert int(answer.headers["retry-after"]) >= 1
    assert edge.bus.cancelled == [run.run_id]


@pytest.mark.parametrize("body", [ASK, STREAM], ids=["plain", "stream"])
async def test_the_deadline_ends_a_run_and_cancels_it(body: dict[str, object]) -> None:
    async def starts_only(tell: Tell) -> None:
        tell.started()

    edge = Edge(times=RunTimes(start_s=5, run_s=0.5))
    edge.bus.worker = starts_only
    async with edge.client() as client:
        answer = await client.post(CHAT, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "provider_timeout")
    assert edge.bus.cancelled == [edge.bus.requested[0].run_id]


@pytest.mark.parametrize("body", [ASK, STREAM], ids=["plain", "stream"])
async def test_a_lost_bus_is_told_at_once(body: dict[str, object]) -> None:
    async def loses_the_bus(tell: Tell) -> None:
        tell.started()
        edge.waiting.fail_all(lambda: BusUnavailableError(service="rabbitmq", retry_after_s=2))

    edge = Edge()
    edge.bus.worker = loses_the_bus
    async with edge.client() as client:
        answer = await client.post(CHAT, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "bus_unavailable")
    assert answer.headers["retry-after"] == "2"


async def test_a_lost_message_is_told() -> None:
    async def skips_one(tell: Tell) -> None:
        tell.started()
        tell.skip()
        tell.chunk(chunk("late"))

    edge = Edge()
    edge.bus.worker = skips_one
    async with edge.client() as client:
        answer = await client.post(CHAT, json=STREAM)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "bus_unavailable")
    assert edge.bus.cancelled == [edge.bus.requested[0].run_id]


async def test_without_the_bus_nothing_begins() -> None:
    edge = Edge()
    edge.bus.error = BusUnavailableError()
    async with edge.client() as client:
        answer = await client.post(CHAT, json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "bus_unavailable")
    assert len(edge.waiting) == 0
    # Unconfirmed is not unsent: a worker that has it all the same is told to stop.
    assert len(edge.bus.cancelled) == 1


async def test_what_was_never_sent_is_not_cancelled_and_may_be_repeated() -> None:
    edge = Edge()
    answers = []
    async with edge.client() as client:
        for edge.bus.error in (NotSentError(), BusUnavailableError()):
            answers.append(await client.post(CHAT, json=ASK))
            answers.append(await client.post(CHAT, json=ASK, headers={"Idempotency-Key": f"{len(answers)}"}))
    assert [answer.json()["error"]["code"] for answer in answers] == ["bus_unavailable"] * 4
    assert [answer.headers.get("x-should-retry") for answer in answers] == [None, None, "false", "false"]
    told = [answer.headers["latchkey-run-id"] for answer in answers]
    assert [str(run_id) for run_id in edge.bus.cancelled] == told[2:]


async def test_without_the_database_nothing_is_asked() -> None:
    edge = Edge()
    edge.runs.error = DatabaseUnavailableError()
    async with edge.client() as client:
        answer = await client.post(CHAT, json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_unavailable")
    assert (edge.bus.requested, edge.bus.cancelled, len(edge.waiting)) == ([], [], 0)


async def test_runs_in_flight_are_bounded() -> None:
    release = asyncio.Event()

    async def waits(tell: Tell) -> None:
        await release.wait()
        tell.completed(RESPONSE)

    edge = Edge(runs_max=2)
    edge.bus.worker = waits
    async with edge.client() as client:
        busy = [asyncio.create_task(client.post(CHAT, json=ASK)) for _ in range(2)]
        while len(edge.bus.requested) < 2:
            await asyncio.sleep(0)
        refused = await client.post(CHAT, json=ASK)
        release.set()
        answers = await asyncio.gather(*busy)
        again = await client.post(CHAT, json=ASK)
    assert refused.status_code == 503
    assert refused.json()["error"]["service"] == "api_edge"
    assert refused.headers["retry-after"] == "1"
    assert [answer.status_code for answer in [*answers, again]] == [200, 200, 200]


async def test_a_run_that_ends_without_its_answer_is_our_defect() -> None:
    async def says_nothing(tell: Tell) -> None:
        tell.completed(None)

    edge = Edge()
    edge.bus.worker = says_nothing
    async with edge.client() as client:
        answer = await client.post(CHAT, json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")


async def test_a_jwt_is_as_good_as_a_token() -> None:
    edge = Edge()
    async with edge.client("jwt-carol") as client:
        await client.post(CHAT, json=ASK)
    assert edge.bus.requested[0].user_id == "carol"
