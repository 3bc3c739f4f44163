"""A user who wants to be forgotten: nothing of theirs is left but the books, and nobody else is touched."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.acceptance.callers import Caller
from tests.acceptance.commands import latchkey
from tests.acceptance.house import House, eventually
from tests.loopback import http_client

pytestmark = pytest.mark.acceptance

COUNCIL = {"members": ["openai/gpt-4o-mini", "openai/gpt-4o"], "model": "openai/gpt-4o-mini"}
QUESTION = {"messages": [{"role": "user", "content": "two and two?"}]}
CHOSEN = {"model": "openai/gpt-4o"}


async def run_ids(caller: Caller) -> list[str]:
    return [item["run_id"] for item in (await caller.get("/api/runs"))["items"]]


async def lived_in(house: House, caller: Caller) -> str:
    """Everything that a user can leave behind. Returns a token of theirs."""
    _, told = await latchkey(house, "token", "--user", caller.user_id)
    await caller.store_key(f"sk-forget-{secrets.token_hex(10)}")
    for path, body in (
        ("/settings/model", CHOSEN),
        ("/api/user-settings", {"allowPlatformFallback": False}),
        ("/api/runs", {"kind": "text", **CHOSEN, **QUESTION}),
        ("/api/councils", {**COUNCIL, **QUESTION}),
    ):
        (await caller.http.post(path, json=body)).raise_for_status()

    async def are_over() -> bool:
        runs = (await caller.get("/api/runs"))["items"]
        return len(runs) == 4 and all(run["status"] == "completed" for run in runs)

    await eventually(are_over, "the runs are over")
    return told.strip()


@asynccontextmanager
async def at_work(house: House, token: str) -> AsyncIterator[None]:
    """Somebody stores keys and has runs kept with this token, for as long as it works."""

    async def work() -> None:
        headers = {"authorization": f"Bearer {token}"}
        async with http_client(base_url=house.url, headers=headers) as client:
            while True:
                key = {"service": "groq", "api_key": f"sk-forget-{secrets.token_hex(10)}"}
                await client.post("/api/keys", json=key)
                await client.post("/api/runs", json={"kind": "text", **CHOSEN, **QUESTION})
                await asyncio.sleep(0.2)

    working = asyncio.create_task(work())
    yield
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def left_of(caller: Caller) -> dict[str, Any]:
    lists = {name: (await caller.get(f"/api/{name}"))["items"] for name in ("keys", "runs", "councils")}
    settings = await caller.get("/api/user-settings")
    return {
        **{name: len(items) for name, items in lists.items()},
        "model": (await caller.get("/api/model-settings"))["model"],
        "fallback": settings["allowPlatformFallback"],
    }


async def test_nothing_is_left_but_the_books(house: House) -> None:
    caller, other = await house.caller(), await house.caller()
    token, others_token = [await lived_in(house, one) for one in (caller, other)]
    before, [run_id, *_] = await left_of(other), await run_ids(caller)

    async with at_work(house, token):
        code, told = await latchkey(house, "forget", "--user", caller.user_id)

    assert code == 0
    assert f"of {caller.user_id}'s keys\n" in told
    assert told.startswith("forgot 1 API tokens\n")
    assert told.splitlines()[-4:-1] == [
        "forgot 1 model settings",
        "forgot 1 consent settings",
        "forgot 1 councils",
    ]
    fresh = await left_of(await house.caller())
    assert await left_of(caller) == fresh == {**fresh, "keys": 0, "runs": 0, "councils": 0}
    assert (await caller.http.get(f"/api/runs/{run_id}/receipt")).status_code == 404
    assert (await left_of(other)) == before == {**before, "keys": 1, "runs": 4, "councils": 1}
    statuses = [
        (await caller.http.get("/api/runs", headers={"authorization": f"Bearer {one}"})).status_code
        for one in (token, others_token)
    ]
    assert statuses == [401, 200]
    assert (await caller.get("/api/usage"))["totals"]["attempts"] >= 4, "the books know what was used"
