"""A dropped connection costs neither an answer nor a charge."""

import asyncio
import random
import secrets
from typing import Any

import orjson
import pytest

from tests.acceptance.callers import MODEL, Caller
from tests.acceptance.events import id_of, some, start
from tests.acceptance.house import House, eventually
from tests.chaos.vanishing import vanish

pytestmark = pytest.mark.acceptance

CHUNKS = 60
PROMPT = f"[simulate chunks={CHUNKS} chunk_ms=10] tell me a story"


async def test_a_stream_that_is_cut_again_and_again_comes_whole_from_either_edge(pair: House) -> None:
    caller = await pair.caller()
    await caller.store_key("sk-sim-resume-0011223344")
    other = await pair.caller_at(pair.urls[1], caller.user_id)
    whole_id, cut_id = await start(caller, PROMPT), await start(caller, PROMPT)
    whole = await some(caller, whole_id, None, None)
    found: list[bytes] = []
    for turn in range(200):
        at = (caller, other)[turn % 2]
        part = await some(at, cut_id, id_of(found[-1]) if found else None, 7)
        found += part
        if found and b"event: usage" in found[-1]:
            break
    assert len(whole) == CHUNKS + 2
    assert [block.replace(cut_id.encode(), b"") for block in found[:-2]] == [
        block.replace(whole_id.encode(), b"") for block in whole[:-2]
    ]
    assert await some(caller, cut_id, None, None) == found
    receipt = await pair.receipt(caller, cut_id)
    assert len(receipt["attempts"]) == 1
    assert pair.calls().with_key("sk-sim-resume-0011223344") == 2


async def test_a_killed_edge_costs_nothing(pair: House) -> None:
    caller = await pair.caller()
    await pair.grant(caller, 1_000_000_000)
    other = await pair.caller_at(pair.urls[1], caller.user_id)
    run_id = await start(caller, PROMPT, flow="deep_analysis")
    before = await some(caller, run_id, None, 10)
    reading = asyncio.create_task(some(caller, run_id, id_of(before[-1]), None))
    await asyncio.sleep(0.05)
    await pair.parts["api_edge"].kill()
    before += await reading
    rest = await some(other, run_id, id_of(before[-1]), None)
    await pair.restore()
    assert before + rest == await some(caller, run_id, None, None)
    assert len(before + rest) == CHUNKS + 2
    receipt = await pair.receipt(caller, run_id)
    await pair.check_ledger(caller, 1_000_000_000 - receipt["totals"]["charged_micros"])
    assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["completed"]


async def test_a_run_that_lost_its_worker_says_so_to_whoever_comes_back(pair: House) -> None:
    caller = await pair.caller()
    await caller.store_key("sk-sim-lost-0011223344")
    run_id = await start(caller, "[simulate chunks=200 chunk_ms=100] on and on")
    before = await some(caller, run_id, None, 5)
    await pair.parts["inference-1"].kill()
    reading = asyncio.create_task(some(caller, run_id, id_of(before[-1]), None))
    await pair.restore()
    last = (await reading)[-1]
    fields = dict(line.split(b": ", 1) for line in last.split(b"\n"))
    assert (fields[b"event"], orjson.loads(fields[b"data"])["code"]) == (b"error", "worker_lost")

    async def is_kept() -> bool:
        return bool((await caller.get(f"/api/runs/{run_id}"))["status"] == "failed")

    await eventually(is_kept, "the run is kept as failed", timeout_s=30)


async def test_one_key_is_one_run_on_both_edges_also_while_it_streams(pair: House) -> None:
    caller = await pair.caller()
    await caller.store_key("sk-sim-once-0011223344")
    other = await pair.caller_at(pair.urls[1], caller.user_id)
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"Idempotency-Key": "once"}

    async def ask(turn: int) -> bytes:
        await asyncio.sleep(turn * 0.1)
        at = (caller, other)[turn % 2]
        return (await at.http.post("/v1/chat/completions", json=body, headers=headers)).content

    answers = await asyncio.gather(*(ask(turn) for turn in range(10)))
    assert len(set(answers)) == 1
    assert answers[0].endswith(b"data: [DONE]\n\n")
    assert pair.calls().with_key("sk-sim-once-0011223344") == 1


async def test_clients_that_vanish_leave_nothing_behind(pair: House) -> None:
    callers = [await pair.caller() for _ in range(3)]
    for caller in callers:
        await pair.grant(caller, 10_000_000_000)
    await vanish(pair, callers, 30, random.Random(7))
    for caller in callers:
        await eventually(lambda caller=caller: is_free(caller), "nothing is held any more")  # type: ignore[misc]


async def is_free(caller: Caller) -> bool:
    return bool((await caller.get("/api/credits"))["held_micros"] == 0)


async def test_a_client_that_goes_away_without_a_key_is_hung_up_for_within_a_second(pair: House) -> None:
    caller = await pair.caller()
    await caller.store_key("sk-sim-gone-0011223344")
    body = {
        "model": MODEL,
        "stream": True,
        "messages": [{"role": "user", "content": "[simulate chunks=50 chunk_ms=1000] x"}],
    }
    before = pair.calls().disconnected
    async with caller.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for _ in answer.aiter_raw():
            break

    async def is_hung_up() -> bool:
        return pair.calls().disconnected > before

    await eventually(is_hung_up, "the provider is hung up on", timeout_s=1.5)


async def kept(caller: Caller, path: str, **body: object) -> str:
    """Ask one of OpenAI's endpoints so that the run is kept, and read all; return the run's id."""
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    answer = await caller.http.post(f"/v1/{path}", json=body, headers=headers)
    return str(answer.raise_for_status().headers["latchkey-run-id"])


def told(blocks: list[bytes]) -> list[tuple[str, Any]]:
    """Return the events' names and data."""
    fields = [dict(line.split(b": ", 1) for line in block.split(b"\n")) for block in blocks]
    return [(each[b"event"].decode(), orjson.loads(each[b"data"])) for each in fields]


@pytest.mark.parametrize("model", [MODEL, "anthropic/claude-haiku-4-5"])
async def test_a_responses_pieces_come_whole_from_either_edge(pair: House, model: str) -> None:
    caller = await pair.caller()
    await caller.store_key("sk-sim-pieces-0011223344", model.partition("/")[0])
    other = await pair.caller_at(pair.urls[1], caller.user_id)
    asked = f"[simulate chunks={CHUNKS}] tell me a story"
    run_id = await kept(caller, "responses", model=model, input=asked, stream=True)
    whole = await some(caller, run_id, None, None)
    first = await some(other, run_id, None, 20)
    assert first + await some(caller, run_id, id_of(first[-1]), None) == whole
    *pieces, (last, final), (_, usage) = told(whole)
    assert {name for name, _ in pieces} == {"message_chunk"}
    assert len(pieces) == CHUNKS
    assert "".join(data["chunk"] for _, data in pieces) == final["response"]
    assert (last, final["finish_reason"], final["output"][0]["type"]) == (
        "final_response",
        "completed",
        "message",
    )
    assert usage["usage"]["completion_tokens"] > 0
    assert (await caller.get(f"/api/runs/{run_id}"))["response"] == final["response"]


async def test_of_embeddings_only_the_whole_is_told(pair: House) -> None:
    caller = await pair.caller()
    await caller.store_key("sk-sim-vectors-0011223344")
    run_id = await kept(caller, "embeddings", model="openai/text-embedding-3-small", input=["one", "two"])
    (name, final), (last, _) = told(await some(caller, run_id, None, None))
    assert (name, last) == ("final_response", "usage")
    assert [vector["index"] for vector in final["response"]] == [0, 1]
