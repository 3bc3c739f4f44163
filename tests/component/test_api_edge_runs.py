"""`/api/runs`: runs that outlive their client's connection."""

import asyncio

import httpx2
import orjson
import pytest

from shared.contracts.runs import RunUsage
from shared.contracts.usage import TokenCounts
from shared.kernel.errors import BusUnavailableError, UserApiKeyRequiredError, WorkerLostError
from shared.kernel.ids import new_id
from shared.kernel.names import TokensSource
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_worker import RESPONSE, Tell, chunk, fails

pytestmark = pytest.mark.component

MESSAGES = [{"role": "user", "content": "hello"}]
USAGE = RunUsage(
    tokens=TokenCounts(prompt=7, completion=5, source=TokensSource.MEASURED), cost_micros=1_500_000
)


def frames(text: str) -> list[tuple[int, str, dict[str, object]]]:
    """The events of a stream: number, name, data."""
    found = []
    for block in text.split("\n\n"):
        if block and not block.startswith(":"):
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            found.append((int(fields["id"]), fields["event"], orjson.loads(fields["data"])))
    return found


async def calls_a_tool(tell: Tell) -> None:
    """As OpenAI streams it."""
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    deltas = [{"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]}]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": text}}]} for text in ('{"a":', " 1}")]
    tell.started()
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        tell.chunk(orjson.dumps({"choices": [choice]}).decode())
    tell.chunk(orjson.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}).decode())
    tell.completed(usage=USAGE)


CALLED = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


async def ten_chunks(tell: Tell) -> None:
    tell.started()
    for number in range(10):
        tell.chunk(chunk(f"{number} "))
        await asyncio.sleep(0)
    tell.completed(usage=USAGE)


async def start(client: httpx2.AsyncClient, **body: object) -> str:
    answer = await client.post("/api/runs", json={"messages": MESSAGES, **body})
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "queued"
    run_id: str = answer.json()["run_id"]
    assert answer.headers["location"] == f"/api/runs/{run_id}"
    return run_id


async def events(client: httpx2.AsyncClient, run_id: str, after: int | None = None) -> str:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    answer = await client.get(f"/api/runs/{run_id}/events", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return answer.text


async def test_a_text_comes_whole() -> None:
    edge = Edge()
    async with edge.client() as client:
        run_id = await start(client, kind="text")
        told = frames(await events(client, run_id))
        run = (await client.get(f"/api/runs/{run_id}")).json()
    assert [name for _, name, _ in told] == ["final_response", "usage"]
    assert told[0][2]["response"] == orjson.loads(RESPONSE)["choices"][0]["message"]["content"]
    assert (run["status"], run["kind"], run["response"]) == ("completed", "text", told[0][2]["response"])
    assert run["message"]["role"] == "assistant"


async def test_a_streams_tool_calls_are_in_its_message() -> None:
    edge = Edge()
    edge.bus.worker = calls_a_tool
    async with edge.client() as client:
        run_id = await start(client, kind="stream")
        told = frames(await events(client, run_id))
        run = (await client.get(f"/api/runs/{run_id}")).json()
    final = next(data for _, name, data in told if name == "final_response")
    message = {"role": "assistant", "content": None, "tool_calls": [CALLED]}
    assert (final["response"], final["finish_reason"], final["message"]) == ("", "tool_calls", message)
    assert (run["response"], run["message"]) == ("", message)


async def test_a_stream_comes_in_pieces_then_whole_then_what_it_used() -> None:
    edge = Edge()
    edge.bus.worker = ten_chunks
    async with edge.client() as client:
        told = frames(await events(client, await start(client, kind="stream")))
    assert [name for _, name, _ in told] == ["message_chunk"] * 10 + ["final_response", "usage"]
    assert [number for number, _, _ in told] == list(range(1, 13))
    assert (
        "".join(str(data["chunk"]) for _, name, data in told if name == "message_chunk")
        == (told[-2][2]["response"])
    )
    assert told[-1][2] | {"id": "x"} == {
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
        "cost": "1.5",
        "cost_micros": 1_500_000,
        "model": "openai/gpt-4o-mini",
        "provider": "openai",
        "id": "x",
    }


@pytest.mark.parametrize("goes_on", [True, False], ids=["while it goes on", "when it is over"])
async def test_the_same_bytes_come_from_wherever_on(*, goes_on: bool) -> None:
    gate = asyncio.Event()

    async def halting(tell: Tell) -> None:
        tell.started()
        for number in range(10):
            tell.chunk(*(chunk(f"{number}{letter} ") for letter in "abc"))
        await gate.wait()
        tell.completed(usage=USAGE)

    edge = Edge()
    edge.bus.worker = halting
    async with edge.client() as client:
        run_id = await start(client, kind="stream")
        if not goes_on:
            gate.set()
            await asyncio.sleep(0.05)
        asyncio.get_running_loop().call_later(0.2, gate.set)
        whole, *rests = await asyncio.gather(
            events(client, run_id), *(events(client, run_id, after) for after in range(32))
        )
    blocks = whole.split("\n\n")[:-1]
    assert len(blocks) == 32
    for after, rest in enumerate(rests):
        assert rest == "".join(f"{block}\n\n" for block in blocks[after:])


async def test_who_has_heard_all_is_told_not_to_come_back() -> None:
    edge = Edge()
    edge.bus.worker = ten_chunks
    async with edge.client() as client:
        run_id = await start(client, kind="stream")
        await events(client, run_id)
        answer = await client.get(f"/api/runs/{run_id}/events", headers={"Last-Event-ID": "12"})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_an_error_is_heard_by_whoever_heard_more_than_is_kept() -> None:
    edge = Edge()
    edge.bus.worker = fails(WorkerLostError())
    async with edge.client() as client:
        ((number, name, _),) = frames(await events(client, await start(client, kind="stream"), after=7))
    assert (number, name) == (8, "error")


async def test_json_is_asked_for_and_is_an_object_or_an_error() -> None:
    async def answering(tell: Tell) -> None:
        tell.started()
        content = tell.run.body["messages"][0]["content"]
        tell.completed(orjson.dumps({"choices": [{"message": {"content": content}}]}).decode())

    edge = Edge()
    edge.bus.worker = answering
    async with edge.client() as client:
        good = await start(client, kind="json", messages=[{"role": "user", "content": '{"a": 1}'}])
        half = await start(client, kind="json", messages=[{"role": "user", "content": '{"a": 1'}])
        told, refused = frames(await events(client, good)), frames(await events(client, half))
        view = (await client.get(f"/api/runs/{half}")).json()
    assert edge.bus.requested[0].body["response_format"] == {"type": "json_object"}
    assert told[0][2]["response"] == {"a": 1}
    ((_, name, problem),) = refused
    assert (name, problem["code"], problem["detail"]) == ("error", "provider_error", "answer_is_not_json")
    assert view["error"]["code"] == "provider_error"
    assert "response" not in view


async def test_an_error_is_the_last_event() -> None:
    edge = Edge()
    edge.bus.worker = fails(UserApiKeyRequiredError(service="openai"))
    async with edge.client(headers={"accept-language": "it"}) as client:
        run_id = await start(client)
        ((number, name, problem),) = frames(await events(client, run_id))
        view = (await client.get(f"/api/runs/{run_id}")).json()
    assert (number, name, problem["code"]) == (1, "error", "user_api_key_required")
    assert problem["settings_url"] == "https://app.example/settings"
    assert "chiave" in str(problem["message"])
    assert (view["status"], view["error"]["code"]) == ("failed", "user_api_key_required")


async def test_a_run_goes_on_without_its_client_and_a_cancel_stops_it() -> None:
    edge = Edge()
    async with edge.client() as client:
        run_id = await start(client)
        await asyncio.sleep(0.01)
        assert edge.bus.cancelled == []
        over = (await client.post(f"/api/runs/{run_id}/cancel")).json()
        edge.bus.worker = ten_chunks
        edge.runs.kept.clear()
    assert over["status"] == "completed"

    async def slow(tell: Tell) -> None:
        tell.started()
        await asyncio.sleep(30)

    edge.bus.worker = slow
    async with edge.client() as client:
        run_id = await start(client)
        answer = await client.post(f"/api/runs/{run_id}/cancel")
        view = (await client.get(f"/api/runs/{run_id}")).json()
    assert (answer.status_code, answer.json()) == (202, {"run_id": run_id, "status": "cancelling"})
    assert [str(cancelled) for cancelled in edge.bus.cancelled] == [run_id]
    assert view["status"] == "running"


async def test_runs_are_listed_newest_first_by_pages_and_sessions() -> None:
    edge = Edge()
    async with edge.client() as client:
        ids = [await start(client, session_id="one" if number % 2 else "two") for number in range(5)]
        page = (await client.get("/api/runs", params={"limit": 3})).json()
        rest = (await client.get("/api/runs", params={"limit": 3, "cursor": page["next_cursor"]})).json()
        of_one = (await client.get("/api/runs", params={"session_id": "one"})).json()
    listed = [run["run_id"] for run in (*page["items"], *rest["items"])]
    assert (listed, rest["next_cursor"]) == (ids[::-1], None)
    assert [run["run_id"] for run in of_one["items"]] == [ids[3], ids[1]]


async def test_another_users_run_is_none() -> None:
    edge = Edge()
    async with edge.client() as client, edge.client("lk_bob") as other:
        run_id = await start(client)
        answers = [
            await other.get(f"/api/runs/{run_id}"),
            await other.get(f"/api/runs/{run_id}/events"),
            await other.post(f"/api/runs/{run_id}/cancel"),
            await client.get(f"/api/runs/{new_id()}"),
            await client.get("/api/runs/nonsense/events"),
        ]
        assert (await other.get("/api/runs")).json()["items"] == []
    assert {answer.status_code for answer in answers} == {404}
    assert edge.bus.cancelled == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"kind": "nonsense"}, "kind"),
        ({"kind": "chat"}, "kind"),
        ({"kind": 1}, "kind"),
        ({"session_id": ""}, "session_id"),
        ({"session_id": "x" * 201}, "session_id"),
        ({"session_id": "sk-abcdefghijklmnop"}, "session_id"),
        ({"messages": []}, "messages"),
        ({"flow": 1}, "flow"),
    ],
)
async def test_bad_input_is_named(body: dict[str, object], param: str) -> None:
    async with Edge().client() as client:
        answer = await client.post("/api/runs", json={"messages": MESSAGES, **body})
    assert (answer.status_code, answer.json()["param"]) == (422, param)


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "9" * 10, "\u0661"])
async def test_a_last_event_id_that_is_none_of_ours_is_refused(value: str) -> None:
    async with Edge().client() as client:
        run_id = await start(client)
        headers = {b"last-event-id": value.encode()}
        answer = await client.get(f"/api/runs/{run_id}/events", headers=headers)
    assert (answer.status_code, answer.json()["param"]) == (422, "Last-Event-ID")


async def test_what_could_not_be_asked_for_is_told_at_once() -> None:
    edge = Edge()
    edge.bus.error = BusUnavailableError()
    async with edge.client() as client:
        answer = await client.post("/api/runs", json={"messages": MESSAGES})
    assert (answer.status_code, answer.json()["code"]) == (503, "bus_unavailable")


async def test_a_sessions_runs_are_summed_up() -> None:
    edge = Edge()
    edge.bus.worker = ten_chunks
    async with edge.client() as client:
        run_id = await start(client, kind="stream", session_id="mine")
        told = frames(await events(client, run_id))
    session = told[-1][2]["session"]
    assert session == {
        "session_id": "mine",
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
        "cost": "1.5",
        "cost_micros": 1_500_000,
    }
    assert (edge.billing.listed[-1].session_id, str(edge.billing.listed[-1].excluding_run)) == (
        "mine",
        run_id,
    )


async def test_a_session_in_the_header_is_looked_at_whatever_the_body_says() -> None:
    async with Edge().client(headers={"Latchkey-Session": "s" * 201}) as client:
        answer = await client.post("/api/runs", json={"messages": MESSAGES, "session_id": "mine"})
    assert (answer.status_code, answer.json()["param"]) == (422, "Latchkey-Session")
