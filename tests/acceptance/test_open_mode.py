"""A deployment without users: a key sent with the request, or the platform's, and nothing else."""

import secrets
from collections.abc import AsyncIterator
from typing import Final

import httpx2
import pytest
import pytest_asyncio

from shared.kernel.names import API_EDGE
from tests.acceptance.callers import MODEL
from tests.acceptance.house import PLATFORM_KEY, House, eventually
from tests.loopback import http_client

pytestmark = pytest.mark.acceptance

CLOSED: Final = (
    "/api/keys",
    "/api/user-settings",
    "/api/credits",
    "/api/credits/statement",
    "/api/usage",
    "/api/admin/usage",
)


@pytest_asyncio.fixture
async def anybody(house: House) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody without a token, before an open edge; the edge has its users again afterwards."""
    edge = house.parts[API_EDGE]
    await edge.stop()
    await edge.start(LATCHKEY_AUTH_MODE="open")
    await house.wait_ready()
    async with http_client(base_url=house.url, timeout=30) as client:
        yield client
    await edge.stop()


async def ask(anybody: httpx2.AsyncClient, flow: str = "chat", **headers: str) -> httpx2.Response:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "who am I?"}]}
    return await anybody.post("/v1/chat/completions", json=body, headers={"Latchkey-Flow": flow, **headers})


async def charges(house: House, answer: httpx2.Response) -> list[int]:
    """What billing charged for a run, once it has heard of it."""
    charged = "SELECT charged_micros FROM billing.usage WHERE run_id = $1::uuid"
    found: list[int] = []

    async def is_recorded() -> bool:
        rows = await house.rows(charged, answer.headers["latchkey-run-id"])
        found[:] = [row["charged_micros"] for row in rows]
        return bool(found)

    await eventually(is_recorded, "billing knows of the run")
    return found


async def test_nobodys_runs(house: House, anybody: httpx2.AsyncClient) -> None:
    key, dead = (f"sk-open-{mark}{secrets.token_hex(8)}" for mark in ("", "revoked-"))
    platform = house.calls().with_key(PLATFORM_KEY)

    own = await ask(anybody, **{"X-OpenAI-Key": key})
    refused = await ask(anybody, **{"X-OpenAI-Key": dead})
    strict = await ask(anybody, "solver")
    assert (own.status_code, own.headers["latchkey-key-source"]) == (200, "request")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "user_api_key_invalid")
    assert (strict.status_code, strict.json()["error"]["code"]) == (403, "user_api_key_required")
    assert house.calls().with_key(PLATFORM_KEY) == platform, (
        "the platform's key was used in place of the one sent"
    )

    keyless = await ask(anybody)
    assert (keyless.status_code, keyless.headers["latchkey-key-source"]) == (200, "platform")
    assert house.calls().with_key(PLATFORM_KEY) == platform + 1
    assert (await ask(anybody, "system")).status_code == 403
    assert await charges(house, keyless) == [0]
    for path in CLOSED:
        assert (await anybody.get(path)).status_code == 403, path
    assert (await anybody.get("/api/providers/status")).status_code == 200
