"""`/api/councils`: several models side by side, and one answer made of theirs."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import orjson
import pytest

from services.api_edge.domain.allowance import Limited
from shared.contracts.runs import RunEnded, RunUsage
from shared.contracts.usage import TokenCounts
from shared.kernel.errors import BusUnavailableError, PlatformError, ProviderError
from shared.kernel.ids import new_id
from shared.kernel.names import Outcome, TokensSource
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_worker import Tell, Worker, chunk, key_use

pytestmark = pytest.mark.component

MEMBERS = ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5", "groq/llama-3.3-70b-versatile"]
BODY = {"members": MEMBERS, "model": "openai/gpt-4o", "messages": [{"role": "user", "content": "2 + 2?"}]}
USAGE = RunUsage(
    tokens=TokenCounts(prompt=7, completion=5, source=TokensSource.MEASURED), cost_micros=1_500_000
)

Told = list[tuple[str, str, dict[str, Any]]]


def ended(run_id: str, outcome: Outcome) -> RunEnded:
    return RunEnded(run_id=UUID(run_id), user_id="alice", outcome=outcome, ended_at=datetime.now(UTC))


def says(**failing: PlatformError) -> Worker:
    """A worker of whom every model says its own name, in two pieces; those of `failing` services fail."""

    async def worker(tell: Tell) -> None:
        if (error := failing.get(tell.run.provider)) is not None:
            tell.failed(error)
            return
        tell.started()
        tell.chunk(chunk("I am "))
        await asyncio.sleep(0)
        tell.chunk(chunk(tell.run.model))
        tell.completed(uses=(key_use(),), usage=USAGE)

    return worker


async def an_edge(worker: Worker | None = None, *, services: tuple[str, ...] = ("openai", "groq")) -> Edge:
    edge = Edge()
    edge.bus.worker = worker or says()
    async with edge.client() as client:
        for service in services:
            key = {"service": service, "api_key": f"sk-{service}-0123456789abcdef"}
            (await client.post("/api/keys", json=key)).raise_for_status()
    return edge


async def call(client: httpx2.AsyncClient, body: object = None, **headers: str) -> dict[str, Any]:
    answer = await client.post("/api/councils", json=body or BODY, headers=headers)
    assert answer.status_code == 202, answer.text
    called: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/councils/{called['council_id']}"
    return called


async def events(client: httpx2.AsyncClient, council_id: str, after: str | None = None) -> Told:
    headers = {} if after is None else {"Last-Event-ID": after}
    answer = await client.get(f"/api/councils/{council_id}/events", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    blocks = [block for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    fields = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    return [(one["id"], one["event"], orjson.loads(one["data"])) for one in fields]


def named(told: Told, name: str) -> list[dict[str, Any]]:
    return [data for _, event, data in told if event == name]


async def test_all_who_can_answer_are_asked_and_one_answer_is_made_of_theirs() -> None:
    edge = await an_edge()
    async with edge.client() as client:
        called = await call(client)
        told = await events(client, called["council_id"])
    assert [member["status"] for member in called["members"]] == ["running", "skipped", "running"]
    [skipped] = named(told, "member_skipped")
    assert (skipped["member"], skipped["model"]) == (1, "anthropic/claude-sonnet-4-5")
    assert (skipped["code"], skipped["service"]) == ("user_api_key_required", "anthropic")
    assert skipped["settings_url"] == "https://app.example/settings"
    answers = {data["model"]: data["response"] for data in named(told, "member_completed")}
    assert answers == {name: f"I am {name}" for name in (MEMBERS[0], MEMBERS[2])}
    for member in (0, 2):
        pieces = [data["chunk"] for data in named(told, "member_chunk") if data["member"] == member]
        assert "".join(pieces) == answers[MEMBERS[member]]
    assert [event for _, event, _ in told][-4:] == [
        "message_chunk",
        "message_chunk",
        "final_response",
        "usage",
    ]
    assert told[-2][2]["response"] == "I am openai/gpt-4o"


async def test_the_synthesis_is_asked_with_what_was_asked_and_every_answer() -> None:
    edge = await an_edge()
    async with edge.client() as client:
        called = await call(client, {**BODY, "temperature": 0.5, "session_id": "s-1"})
        await events(client, called["council_id"])
    *members, synthesis = edge.bus.requested
    assert [run.model for run in members] == [MEMBERS[0], MEMBERS[2]]
    assert [run.body["messages"] for run in members] == [BODY["messages"]] * 2
    assert (str(synthesis.run_id), synthesis.model) == (called["synthesis_run_id"], "openai/gpt-4o")
    asked, answers = synthesis.body["messages"]
    assert asked == BODY["messages"][0]
    assert all(f"### {name}\nI am {name}" in answers["content"] for name in (MEMBERS[0], MEMBERS[2]))
    assert {run.session_id for run in edge.bus.requested} == {"s-1"}
    assert {run.body["temperature"] for run in edge.bus.requested} == {0.5}
    assert all(run.kept and run.stream for run in edge.bus.requested)


async def test_its_runs_are_listed_as_its_own() -> None:
    edge = await an_edge()
    async with edge.client() as client:
        alone = (await client.post("/api/runs", json={"kind": "text", "messages": BODY["messages"]})).json()
        called = await call(client)
        await events(client, called["council_id"])
        listed = (await client.get("/api/runs")).json()["items"]
    own = {member["run_id"] for member in called["members"]} - {None} | {called["synthesis_run_id"]}
    assert {run["run_id"]: run["council_id"] for run in listed} == {
        alone["run_id"]: None,
        **dict.fromkeys(own, called["council_id"]),
    }


async def test_the_tools_that_members_would_call_are_told_and_weighed() -> None:
    tool = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

    async def worker(tell: Tell) -> None:
        delta = {"tool_calls": [{"index": 0, **tool}]}
        tell.chunk(orjson.dumps({"choices": [{"index": 0, "delta": delta}]}).decode())
        tell.completed(uses=(key_use(),), usage=USAGE)

    edge = await an_edge(worker)
    async with edge.client() as client:
        called = await call(client)
        told = await events(client, called["council_id"])
        council = (await client.get(f"/api/councils/{called['council_id']}")).json()
    message = {"role": "assistant", "content": None, "tool_calls": [tool]}
    for last in (*named(told, "member_completed"), *named(told, "final_response")):
        assert last["message"] == message
    assert [member.get("message") for member in council["members"]] == [message, None, message]
    assert orjson.dumps([tool]).decode() in edge.bus.requested[-1].body["messages"][-1]["content"]


async def test_what_all_used_and_cost_is_told_as_one() -> None:
    edge = await an_edge()
    async with edge.client() as client:
        called = await call(client)
        told = await events(client, called["council_id"])
        council = (await client.get(f"/api/councils/{called['council_id']}")).json()
    final, usage = told[-2][2], told[-1][2]
    assert usage["usage"] == {"prompt_tokens": 21, "completion_tokens": 15, "total_tokens": 36}
    assert usage["cost_micros"] == 4_500_000
    assert len(final["latchkey"]["apiKeyUsageLog"]) == 3
    assert final["latchkey"]["apiKeyUsageSummary"]["by_key_source"] == {"user": 3}
    assert council["status"] == "completed"
    assert council["response"] == final["response"]
    assert [member["status"] for member in council["members"]] == ["completed", "skipped", "completed"]
    assert (council["usage"], council["cost"]) == (usage["usage"], usage["cost"])
    assert council["latchkey"] == final["latchkey"]


async def test_one_who_fails_is_told_and_does_not_keep_the_others_from_it() -> None:
    edge = await an_edge(says(groq=ProviderError("boom", service="groq")))
    async with edge.client() as client:
        told = await events(client, (await call(client))["council_id"])
    [failed] = named(told, "member_failed")
    assert (failed["member"], failed["code"]) == (2, "provider_error")
    assert told[-2][1] == "final_response"
    assert MEMBERS[2] not in edge.bus.requested[-1].body["messages"][-1]["content"]


async def test_when_all_fail_there_is_nothing_to_be_made_of_it() -> None:
    edge = await an_edge(says(groq=ProviderError("boom"), openai=ProviderError("bang")))
    async with edge.client() as client:
        called = await call(client)
        told = await events(client, called["council_id"])
        council = (await client.get(f"/api/councils/{called['council_id']}")).json()
    assert [event for _, event, _ in told if not event.startswith("member")] == ["error"]
    assert told[-1][2]["code"] == "provider_error"
    assert (council["status"], council["response"]) == ("failed", None)
    assert len(edge.bus.requested) == 2


async def test_heard_on_from_any_event_the_rest_is_the_same() -> None:
    edge = await an_edge()
    async with edge.client() as client:
        council_id = (await call(client))["council_id"]
        whole = await events(client, council_id)
        for cut in range(1, len(whole) - 1):
            rest = await events(client, council_id, after=whole[cut - 1][0])
            heard = {(data.get("member"), data.get("chunk"), name) for _, name, data in whole[:cut]}
            assert len(rest) == len(whole) - cut
            assert not heard & {(data.get("member"), data.get("chunk"), name) for _, name, data in rest}
        done = await client.get(f"/api/councils/{council_id}/events", headers={"Last-Event-ID": whole[-1][0]})
    assert done.status_code == 204


async def test_one_idempotency_key_is_one_council() -> None:
    edge, key = await an_edge(), {"Idempotency-Key": "k-1"}
    async with edge.client() as client:
        first, again = [await call(client, **key) for _ in range(2)]
        other = await client.post("/api/councils", json={**BODY, "temperature": 1}, headers=key)
        await events(client, first["council_id"])
        late = await call(client, **key)
        stopped = await client.post(f"/api/councils/{first['council_id']}/cancel")
    assert len({called["council_id"] for called in (first, again, late)}) == 1
    assert [called["status"] for called in (first, again, late)] == ["queued", "running", "completed"]
    assert {member["status"] for member in late["members"]} == {"completed", "skipped"}
    assert stopped.json()["status"] == "completed"
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert len(edge.bus.requested) == 3


async def test_stopped_all_its_runs_are_and_nothing_follows() -> None:
    async def goes_on(tell: Tell) -> None:
        tell.started()

    edge = await an_edge(goes_on)
    async with edge.client() as client:
        called = await call(client)
        council_id, synthesis_id = called["council_id"], UUID(called["synthesis_run_id"])
        answer = await client.post(f"/api/councils/{council_id}/cancel")
        council = (await client.get(f"/api/councils/{council_id}")).json()
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    assert set(edge.bus.cancelled) == {*(run.run_id for run in edge.bus.requested), synthesis_id}
    assert council["status"] == "cancelled"
    await _end_of_all(edge)


async def test_without_any_key_nobody_is_asked() -> None:
    edge = await an_edge(services=())
    async with edge.client() as client:
        answer = await client.post("/api/councils", json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (403, "user_api_key_required")
    assert (edge.bus.requested, edge.councils.kept) == ([], {})


async def test_a_key_in_the_request_serves_members_and_synthesis() -> None:
    edge = await an_edge(services=())
    async with edge.client() as client:
        body = {**BODY, "members": MEMBERS[:2]}
        called = await call(client, body, **{"X-OpenAI-Key": "sk-0123456789abcdef"})
        await events(client, called["council_id"])
    assert [member["status"] for member in called["members"]] == ["running", "skipped"]
    assert all(run.request_key is not None for run in edge.bus.requested)
    assert len(edge.bus.requested) == 2


async def test_another_users_council_is_not_found() -> None:
    edge = await an_edge()
    async with edge.client() as client, edge.client("lk_bob") as bob:
        council_id = (await call(client))["council_id"]
        await events(client, council_id)
        for path in ("", "/events", "/receipt"):
            assert (await bob.get(f"/api/councils/{council_id}{path}")).status_code == 404
        assert (await bob.post(f"/api/councils/{council_id}/cancel")).status_code == 404
        assert (await client.get(f"/api/councils/{new_id()}")).status_code == 404


async def test_when_members_cannot_be_asked_the_key_may_be_used_anew() -> None:
    edge = await an_edge()
    async with edge.client() as client:
        edge.bus.error = BusUnavailableError(service="rabbitmq")
        answer = await client.post("/api/councils", json=BODY, headers={"Idempotency-Key": "k-1"})
        assert (answer.status_code, answer.json()["code"]) == (503, "bus_unavailable")
        edge.bus.error = None
        told = await events(client, (await call(client, **{"Idempotency-Key": "k-1"}))["council_id"])
    assert told[-1][1] == "usage"


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"members": None}, "members"),
        ({"members": []}, "members"),
        ({"members": "openai/gpt-4o"}, "members"),
        ({"members": [1]}, "members"),
        ({"members": ["openai/gpt-4o"] * 9}, "members"),
        ({"members": ["no-such-model"]}, "members"),
        ({"messages": []}, "messages"),
        ({"model": "nobody/gpt"}, "model"),
        ({"session_id": ""}, "session_id"),
    ],
)
async def test_bad_councils(changed: dict[str, object], param: str) -> None:
    edge = await an_edge()
    async with edge.client() as client:
        answer = await client.post("/api/councils", json={**BODY, **changed})
    assert (answer.status_code, answer.json()["param"]) == (422, param)
    assert edge.bus.requested == []


@pytest.mark.parametrize("place", ["", "1", "1.2", "1.2.3.x", "1.2.3.4.5", "1.2.3.-4", "1.2.3.٣"])
async def test_a_place_that_no_event_has_is_refused(place: str) -> None:
    edge = await an_edge()
    async with edge.client() as client:
        council_id = (await call(client))["council_id"]
        headers = httpx2.Headers([(b"Last-Event-ID", place.encode())])
        answer = await client.get(f"/api/councils/{council_id}/events", headers=headers)
        await events(client, council_id)
    assert (answer.status_code, answer.json()["param"]) == (422, "Last-Event-ID")


async def _end_of_all(edge: Edge) -> None:
    """Nobody waits any more."""
    for run in edge.bus.requested:
        Tell(edge.waiting, run).failed(ProviderError("over"))
    await asyncio.sleep(0.05)


async def test_every_run_of_a_council_counts() -> None:
    edge = await an_edge()
    edge.rates.left = {Limited.RUNS: len(MEMBERS) + 1}
    async with edge.client() as client:
        await events(client, (await call(client))["council_id"])
        refused = await client.post("/api/councils", json=BODY)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert edge.rates.left == {Limited.RUNS: 0}


async def test_councils_are_listed_newest_first_page_by_page_to_their_owner() -> None:
    edge = await an_edge(says(groq=ProviderError("no")))
    async with edge.client() as client, edge.client("lk_bob") as other:
        ids: list[str] = []
        for number in range(3):
            called = await call(client, {**BODY, "session_id": "one" if number == 1 else None})
            await events(client, called["council_id"])
            ids.insert(0, called["council_id"])
        first = (await client.get("/api/councils", params={"limit": 2})).json()
        rest = (await client.get("/api/councils", params={"cursor": first["next_cursor"]})).json()
        of_one = (await client.get("/api/councils", params={"session_id": "one"})).json()
        assert (await other.get("/api/councils")).json() == {"items": [], "next_cursor": None}
    assert [item["council_id"] for item in (*first["items"], *rest["items"])] == ids
    assert (first["next_cursor"], rest["next_cursor"]) == (ids[1], None)
    assert [item["council_id"] for item in of_one["items"]] == [ids[1]]
    item = of_one["items"][0]
    assert (item["status"], item["session_id"]) == ("completed", "one")
    assert [member["status"] for member in item["members"]] == ["completed", "skipped", "failed"]
    assert "response" not in item


async def test_a_listed_council_goes_on_until_all_of_it_is_over() -> None:
    async def silent(tell: Tell) -> None:
        tell.started()

    edge = await an_edge(silent)
    async with edge.client() as client:
        called = await call(client)
        [before] = (await client.get("/api/councils")).json()["items"]
        ids = [member["run_id"] for member in called["members"]]
        await edge.runs.end([ended(ids[0], Outcome.COMPLETED), ended(ids[2], Outcome.FAILED)])
        [after] = (await client.get("/api/councils")).json()["items"]
        await _end_of_all(edge)
    assert (before["status"], before["members"]) == ("running", called["members"])
    assert after["status"] == "running"
    assert [member["status"] for member in after["members"]] == ["completed", "skipped", "failed"]


@pytest.mark.parametrize(("query", "param"), [({"cursor": "x"}, "cursor"), ({"limit": "0"}, "limit")])
async def test_a_bad_page_is_named(query: dict[str, str], param: str) -> None:
    async with Edge().client() as client:
        answer = await client.get("/api/councils", params=query)
    assert (answer.status_code, answer.json()["param"]) == (422, param)
