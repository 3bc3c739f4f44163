"""A key that is deleted is used by no worker any more, within a second."""

import asyncio
import secrets
import time
from typing import Final

import httpx2
import pytest

from tests.acceptance.callers import MODEL, Caller
from tests.acceptance.house import House, eventually

pytestmark = pytest.mark.acceptance

STREAMS: Final = 18
RUNS: Final = 12
SEEN_S: Final = 1.0
_SLOW: Final = "[simulate chunks=300 chunk_ms=100]"


async def test_every_worker_stops_using_a_deleted_key_within_a_second(house: House) -> None:
    caller, key = await house.caller("leaver"), f"sk-sim-mine-{secrets.token_hex(8)}"
    credential_id = await caller.store_key(key)
    streams = [asyncio.create_task(streamed_until(caller)) for _ in range(STREAMS)]
    await all_workers_stream(house, caller)

    (await caller.http.delete(f"/api/keys/{credential_id}")).raise_for_status()
    deleted_at = time.monotonic()
    ended = await asyncio.gather(*streams)
    called = house.calls().with_key(key)
    refused = await asyncio.gather(*(ask(caller, "once more") for _ in range(RUNS)))

    for answer, at in ended:
        assert "user_api_key_invalid" in answer.text, "the stream went on with a deleted key"
        assert at - deleted_at < SEEN_S
    assert {answer.status_code for answer in refused} == {403}
    assert house.calls().with_key(key) == called == STREAMS
    await eventually_idle(house)


async def test_a_replaced_key_stays_good_for_the_runs_that_hold_it(house: House) -> None:
    caller, (old, new) = await house.caller("changer"), (f"sk-sim-{secrets.token_hex(8)}" for _ in range(2))
    credential_id = await caller.store_key(old)
    running = asyncio.create_task(ask(caller, "[simulate chunks=8 chunk_ms=150]", stream=True))
    await until_called(house, old)

    replaced = await caller.http.put(f"/api/keys/{credential_id}", json={"api_key": new})
    following = await ask(caller, "and now?")

    assert (replaced.status_code, replaced.json()["version"]) == (200, 2), replaced.text
    assert following.status_code == 200
    assert "[DONE]" in (await running).text, "the run that held the old key was cut off"
    assert (house.calls().with_key(old), house.calls().with_key(new)) == (1, 1)


async def test_an_operator_revokes_a_users_keys(house: House) -> None:
    caller, admin = await house.caller("gone"), await house.caller("admin", "admin")
    await caller.store_key(f"sk-sim-{secrets.token_hex(8)}")
    await caller.store_key(f"sk-sim-{secrets.token_hex(8)}", "groq")
    command = {"user_id": caller.user_id, "service": "openai"}

    mine = await caller.http.post("/api/admin/keys/revoke", json=command)
    told = await admin.http.post("/api/admin/keys/revoke", json=command)

    assert mine.status_code == 403
    assert len(told.json()["revoked"]) == 1
    assert [item["service"] for item in (await caller.get("/api/keys"))["items"]] == ["groq"]
    assert (await ask(caller, "hello?")).status_code == 403


async def ask(caller: Caller, prompt: str, *, stream: bool = False) -> httpx2.Response:
    return await caller.ask(prompt, flow="solver", model=MODEL, stream=stream)


async def streamed_until(caller: Caller) -> tuple[httpx2.Response, float]:
    """One long stream, and when it ended."""
    return await ask(caller, _SLOW, stream=True), time.monotonic()


async def all_workers_stream(house: House, caller: Caller) -> None:
    streaming = "SELECT DISTINCT worker FROM inference.attempts WHERE user_id = $1 AND outcome IS NULL"

    async def is_so() -> bool:
        workers = await house.rows(streaming, caller.user_id)
        return len(workers) == len(house.workers) == 3 and house.calls().in_flight == STREAMS

    await eventually(is_so, "every one of three workers streams")


async def until_called(house: House, key: str) -> None:
    async def is_called() -> bool:
        return house.calls().with_key(key) == 1

    await eventually(is_called, "the run is under way")


async def eventually_idle(house: House) -> None:
    async def is_idle() -> bool:
        return house.calls().in_flight == 0

    await eventually(is_idle, "the provider is no longer called")
