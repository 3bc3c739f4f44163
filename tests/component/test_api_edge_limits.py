"""What a caller may ask for, how often and how much at once; and what every answer says to browsers."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from services.api_edge.domain.allowance import Limited
from services.api_edge.domain.sizes import ANY_SIZE, Sizes
from services.api_edge.use_cases import run_guard
from services.api_edge.use_cases.back_pressure import BackPressure
from shared.kernel.errors import BusUnavailableError, DatabaseUnavailableError, UserApiKeyRequiredError
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_worker import Tell, answers, fails
from tests.waiting import until

pytestmark = pytest.mark.component

CHAT = "/v1/chat/completions"
MODEL = "openai/gpt-4o-mini"
SAYS = {"role": "user", "content": "hello"}
BODY = {"model": MODEL, "messages": [SAYS]}


async def no_queue() -> int:
    return 0


async def halts(tell: Tell) -> None:
    tell.started()
    await asyncio.sleep(30)


async def test_every_limited_answer_says_what_is_left() -> None:
    edge = Edge()
    edge.rates.left = {Limited.RUNS: 5}
    async with edge.client() as client:
        answer = await client.post(CHAT, json=BODY)
    told = {name: value for name, value in answer.headers.items() if name.startswith("ratelimit")}
    assert told == {
        "ratelimit-limit": "10",
        "ratelimit-remaining": "4",
        "ratelimit-reset": "31",
        "ratelimit-policy": '10;w=60;comment="runs"',
    }


@pytest.mark.parametrize(
    ("limited", "method", "path"),
    [
        (Limited.RUNS, "POST", CHAT),
        (Limited.RUNS, "POST", "/api/runs"),
        (Limited.REQUESTS, "GET", "/api/credits"),
        (Limited.REQUESTS, "GET", "/v1/models"),
    ],
)
async def test_who_asks_too_often_is_told_when_to_come_back(limited: Limited, method: str, path: str) -> None:
    edge = Edge()
    edge.rates.left = {limited: 0}
    async with edge.client(headers={"accept-language": "it"}) as client:
        answer = await client.request(method, path, json=BODY)
    error = answer.json().get("error", answer.json())
    assert (answer.status_code, error["code"], error["retry_after_s"]) == (429, "rate_limited", 31)
    assert (answer.headers["retry-after"], answer.headers["ratelimit-remaining"]) == ("31", "0")
    assert "richieste" in error["message"]
    assert edge.bus.requested == []


async def test_so_many_at_once_and_the_place_is_given_back() -> None:
    edge = Edge(runs_at_once_max=2)
    edge.bus.worker = halts
    async with edge.client() as client, edge.client("lk_bob") as other:
        open_ones = [asyncio.create_task(client.post(CHAT, json=BODY)) for _ in range(2)]
        await until(lambda: len(edge.bus.requested) == 2)
        refused = await client.post(CHAT, json=BODY)
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)
        edge.bus.worker = answers
        again = await client.post(CHAT, json=BODY)
        others = await other.post(CHAT, json=BODY)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["detail"]) == (429, "rate_limited", "too_many_at_once")
    assert "retry-after" in refused.headers
    assert (again.status_code, others.status_code) == (200, 200)


async def test_kept_runs_are_counted_until_they_end() -> None:
    edge = Edge(runs_at_once_max=2)
    edge.bus.worker = halts
    async with edge.client() as client:
        statuses = [(await client.post("/api/runs", json=BODY)).status_code for _ in range(3)]
    assert statuses == [202, 202, 429]


async def test_kept_runs_that_come_at_once_are_counted_one_by_one() -> None:
    edge = Edge(runs_at_once_max=3)
    edge.bus.worker = halts
    async with edge.client() as client, edge.client("lk_bob") as other:
        asked = [client.post("/api/runs", json=BODY) for _ in range(20)]
        answers = await asyncio.gather(*asked, other.post("/api/runs", json=BODY))
    *own, others = [answer.status_code for answer in answers]
    assert (own.count(202), own.count(429), others) == (3, 17, 202)
    assert len(edge.bus.requested) == 4


async def test_whose_turn_does_not_come_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_guard, "_TURN_S", 0.01)
    guard = run_guard.RunGuard(BackPressure(no_queue, waiting_max=1), ANY_SIZE, at_once_max=1)
    async with guard.turn("alice"), guard.turn("bob"):
        with pytest.raises(DatabaseUnavailableError):
            async with guard.turn("alice"):
                pass
    async with guard.turn("alice") as at_once_max:
        assert at_once_max == 1


async def test_a_client_may_come_back_for_its_run_when_it_has_as_many_as_it_may() -> None:
    edge = Edge(runs_at_once_max=1)
    edge.bus.worker = halts
    async with edge.client() as client:
        first, again, other = [
            await client.post("/api/runs", json=BODY, headers={"Idempotency-Key": key}) for key in "aab"
        ]
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 429)
    assert first.json()["run_id"] == again.json()["run_id"]


async def test_runs_that_no_worker_was_asked_for_take_no_place() -> None:
    edge = Edge(runs_at_once_max=1)
    edge.bus.error = BusUnavailableError("away")
    async with edge.client() as client:
        assert (await client.post("/api/runs", json=BODY)).status_code == 503
        edge.bus.error = None
        assert (await client.post("/api/runs", json=BODY)).status_code == 202


async def test_a_queue_that_is_too_long_is_told_at_once() -> None:
    edge = Edge(queue_runs_max=5)
    async with edge.client() as client:
        assert (await client.post(CHAT, json=BODY)).status_code == 200
        edge.queued = 6
        await asyncio.sleep(1.05)
        await client.post(CHAT, json=BODY)
        await until(lambda: len(edge.bus.requested) == 2)
        refused = await client.post(CHAT, json=BODY)
        edge.queued = 0
        await asyncio.sleep(1.05)
        await client.post(CHAT, json=BODY)
        await asyncio.sleep(0.05)
        assert (await client.post(CHAT, json=BODY)).status_code == 200
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["service"]) == (503, "service_unavailable", "inference")
    assert refused.headers["retry-after"] == "2"


@pytest.mark.parametrize(("asked", "ends_after_s"), [("0.5", 0.5), ("3", 3), ("999999", 5)])
async def test_a_client_may_want_its_run_to_end_sooner(asked: str, ends_after_s: float) -> None:
    edge = Edge()
    async with edge.client(headers={"Latchkey-Timeout": asked}) as client:
        await client.post(CHAT, json=BODY)
    (run,) = edge.bus.requested
    assert run.deadline - run.requested_at == timedelta(seconds=ends_after_s)
    assert run.start_by <= run.deadline
    assert run.deadline_asked == (ends_after_s < edge.times.run_s)


async def test_a_run_ends_for_its_client_when_the_client_said() -> None:
    edge = Edge()
    edge.bus.worker = halts
    async with edge.client(headers={"Latchkey-Timeout": "0.2"}) as client:
        answer = await client.post(CHAT, json=BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "provider_timeout")


@pytest.mark.parametrize("asked", ["0", "0.0", "-1", "x", "", "1e3", "nan", "9999999", "1.2345"])
async def test_a_timeout_that_is_none_is_refused(asked: str) -> None:
    async with Edge().client(headers={"Latchkey-Timeout": asked}) as client:
        answer = await client.post(CHAT, json=BODY)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Latchkey-Timeout")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, {"messages": [SAYS] * 4}, "messages"),
        (CHAT, {"messages": [SAYS, {**SAYS, "content": "x" * 11}]}, "messages[1].content"),
        (
            CHAT,
            {"messages": [{**SAYS, "content": [{"text": "x" * 6}, {"text": "y" * 5}]}]},
            "messages[0].content",
        ),
        ("/api/runs", {"messages": [SAYS] * 4}, "messages"),
        ("/v1/responses", {"input": "x" * 11}, "input"),
        ("/v1/responses", {"input": [SAYS] * 4}, "input"),
        ("/v1/embeddings", {"input": ["x", "x" * 11]}, "input[1]"),
    ],
)
async def test_too_much_at_once_is_refused(path: str, body: dict[str, Any], param: str) -> None:
    edge = Edge(sizes=Sizes(messages=3, message_chars=10))
    async with edge.client() as client:
        answer = await client.post(path, json={"model": MODEL, **body})
    error = answer.json().get("error", answer.json())
    assert (answer.status_code, error["code"]) == (422 if path.startswith("/api") else 400, "invalid_request")
    assert error["param"] == param
    assert edge.bus.requested == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            CHAT,
            {
                "messages": [
                    {"role": "user", "content": "x" * 10},
                    {"role": "assistant", "content": None},
                    SAYS,
                ]
            },
        ),
        (
            CHAT,
            {"messages": [{**SAYS, "content": [{"image_url": {"url": "data:" + "x" * 99}}, {"text": "x"}]}]},
        ),
        ("/v1/embeddings", {"input": [1, 2, 3, 4, 5]}),
    ],
)
async def test_what_is_within_the_limits_passes(path: str, body: dict[str, Any]) -> None:
    edge = Edge(sizes=Sizes(messages=3, message_chars=10))
    async with edge.client() as client:
        answer = await client.post(path, json={"model": MODEL, **body})
    assert (answer.status_code, len(edge.bus.requested)) == (200, 1)


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/api/credits", 200), ("/nowhere", 404), ("/docs", 200)]
)
async def test_every_answer_tells_browsers_what_to_leave_alone(path: str, status: int) -> None:
    async with Edge().client() as client:
        answer = await client.get(path)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers.get("cache-control") == (None if path == "/docs" else "no-store")
    assert ("content-security-policy" in answer.headers) == (path != "/docs")


async def test_whoever_needs_a_key_is_told_where_to_get_one() -> None:
    edge = Edge()
    edge.bus.worker = fails(UserApiKeyRequiredError(service="anthropic"))
    async with edge.client() as client:
        error = (await client.post(CHAT, json=BODY)).json()["error"]
    assert error["help_url"] == "https://console.anthropic.com/settings/keys"
    assert error["settings_url"] == "https://app.example/settings"
