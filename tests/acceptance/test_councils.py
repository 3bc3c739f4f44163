"""A council over HTTP, all services: on two edges, one of which is killed in the middle of it."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.acceptance.callers import Caller
from tests.acceptance.events import some_at
from tests.acceptance.house import House, eventually

pytestmark = pytest.mark.acceptance

KEY = "sk-sim-council-0011223344"


async def call(caller: Caller, prompt: str) -> dict[str, Any]:
    body = {
        "members": ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5", "openai/gpt-4o"],
        "model": "openai/gpt-4o-mini",
        "flow": "deep_analysis",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": prompt}],
    }
    answer = await caller.http.post("/api/councils", json=body)
    assert answer.status_code == 202, answer.text
    called: dict[str, Any] = answer.json()
    return called


def events_of(council_id: str) -> str:
    return f"/api/councils/{council_id}/events"


def read(block: bytes) -> tuple[str, str, dict[str, Any]]:
    fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
    return fields[b"id"].decode(), fields[b"event"].decode(), orjson.loads(fields[b"data"])


async def test_one_answer_is_made_of_all_and_one_receipt_tells_of_them(pair: House) -> None:
    caller = await pair.caller()
    await pair.grant(caller, 1_000_000_000)
    called = await call(caller, "[simulate chunks=10 chunk_ms=5] two and two?")
    told = [read(block) for block in await some_at(caller, events_of(called["council_id"]), None, None)]
    names = [name for _, name, _ in told]
    assert names.count("member_skipped") == 1
    assert names.count("member_completed") == 2
    assert names[-2:] == ["final_response", "usage"]
    receipt: dict[str, Any] = {}

    async def is_final() -> bool:
        receipt.update(await caller.get(f"/api/councils/{called['council_id']}/receipt"))
        return bool(receipt["status"] == "final")

    await eventually(is_final, "billing has seen all runs")
    other = await pair.caller_at(pair.urls[1], caller.user_id)
    [listed] = (await other.get("/api/councils"))["items"]
    assert (listed["council_id"], listed["status"]) == (called["council_id"], "completed")
    assert [member["status"] for member in listed["members"]] == ["completed", "skipped", "completed"]
    assert [attempt["key_source"] for attempt in receipt["attempts"]] == ["platform"] * 3
    assert receipt["totals"]["cost_micros"] == told[-1][2]["cost_micros"] > 0
    assert receipt["apiKeyUsageLog"] == told[-2][2]["latchkey"]["apiKeyUsageLog"]
    await pair.check_ledger(caller, 1_000_000_000 - receipt["totals"]["charged_micros"])


async def test_the_edge_it_was_called_at_is_killed_and_the_other_brings_it_to_its_end(pair: House) -> None:
    caller = await pair.caller()
    await pair.grant(caller, 1_000_000_000)
    other = await pair.caller_at(pair.urls[1], caller.user_id)
    called = await call(caller, "[simulate chunks=20 chunk_ms=50] on and on")
    path = events_of(called["council_id"])
    before = await some_at(caller, path, None, 8)
    await pair.parts["api_edge"].kill()
    rest = await some_at(other, path, read(before[-1])[0], None)
    await pair.restore()
    names = [read(block)[1] for block in rest]
    assert names[-2:] == ["final_response", "usage"]
    whole = await some_at(caller, path, None, None)
    assert sorted(_content(block) for block in before + rest) == sorted(_content(block) for block in whole)
    assert pair.calls().in_flight == 0


async def test_a_client_that_goes_away_leaves_it_going_on(pair: House) -> None:
    caller = await pair.caller()
    await pair.grant(caller, 1_000_000_000)
    called = await call(caller, "[simulate chunks=10 chunk_ms=20] alone")
    await some_at(caller, events_of(called["council_id"]), None, 2)

    async def is_over() -> bool:
        return bool((await caller.get(f"/api/councils/{called['council_id']}"))["status"] == "completed")

    await eventually(is_over, "it came to its answer")


async def test_stopped_its_runs_end_at_the_provider(pair: House) -> None:
    caller = await pair.caller()
    await pair.grant(caller, 1_000_000_000)
    called = await call(caller, "[simulate chunks=400 chunk_ms=50] endless")

    async def is_under_way() -> bool:
        return pair.calls().in_flight == 2

    await eventually(is_under_way, "both members speak")
    answer = await caller.http.post(f"/api/councils/{called['council_id']}/cancel")
    assert answer.status_code == 202

    async def is_quiet() -> bool:
        return pair.calls().in_flight == 0

    await eventually(is_quiet, "the provider was hung up on", timeout_s=5)
    await asyncio.sleep(0.3)
    assert (await caller.get(f"/api/councils/{called['council_id']}"))["status"] == "cancelled"


def _content(block: bytes) -> bytes:
    """An event without its id, which tells of the order of coming."""
    return block.partition(b"\n")[2]
