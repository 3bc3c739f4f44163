"""The platform's pools: taking turns, cooling down, out, and mended, as workers and operators see them."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2
import pytest
import pytest_asyncio

from shared.kernel.names import KeyService
from tests.acceptance.callers import MODEL, Caller
from tests.acceptance.house import PLATFORM_KEY, House, eventually, put_platform_key

pytestmark = pytest.mark.acceptance

GRANT: Final = 1_000_000_000
_COOL_S: Final = 5
_OPENROUTER: Final = "openrouter/meta-llama/llama-3.3-70b-instruct"


@pytest_asyncio.fixture
async def payer(house: House) -> AsyncIterator[Caller]:
    """Somebody who pays for the platform's keys; these are as they were afterwards."""
    caller = await house.caller("payer")
    await house.grant(caller, GRANT)
    yield caller
    await put_platform_key(house.realm, KeyService.OPENAI, PLATFORM_KEY)
    await put_platform_key(house.realm, KeyService.OPENROUTER)


def pool(*marks: str) -> tuple[str, ...]:
    return tuple(f"sk-pool-{mark}{secrets.token_hex(8)}" for mark in marks)


async def ask(payer: Caller, model: str = MODEL, *, stream: bool = False) -> httpx2.Response:
    return await payer.ask(
        "whose turn is it?", flow="deep_analysis", model=model, max_tokens=20, stream=stream
    )


async def states(house: House) -> dict[str, dict[str, Any]]:
    """What an administrator sees, by the last characters of each key."""
    admin = await house.caller("admin", "admin")
    return {item["hint"][-4:]: item for item in (await admin.get("/api/admin/platform-keys"))["items"]}


async def test_keys_take_turns(house: House, payer: Caller) -> None:
    keys = pool("a-", "b-", "c-")
    await put_platform_key(house.realm, KeyService.OPENAI, *keys)
    for _ in range(9):
        assert (await ask(payer)).status_code == 200
    calls = house.calls()
    assert [calls.with_key(key) for key in keys] == [3, 3, 3]


async def test_a_limited_key_cools_down_and_a_refused_one_is_out(house: House, payer: Caller) -> None:
    limited, refused, sound = keys = pool("limited-", "revoked-", "sound-")
    await put_platform_key(house.realm, KeyService.OPENAI, *keys)
    answers = [await ask(payer) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}

    seen: dict[str, dict[str, Any]] = {}

    async def is_marked() -> bool:
        seen.update(await states(house))
        return [seen[key[-4:]]["state"] for key in keys] == ["cooling", "out", "ready"]

    await eventually(is_marked, "the pool's state is known")
    assert seen[refused[-4:]]["reason"] == "system_key_exhausted"
    assert seen[limited[-4:]]["until"] is not None
    before = house.calls()
    assert [before.with_key(key) for key in (refused, sound)] == [1, 6]

    admin = await house.caller("admin", "admin")
    mended = await admin.http.patch(
        f"/api/admin/platform-keys/{seen[refused[-4:]]['credential_id']}", json={"state": "ready"}
    )
    assert (mended.status_code, mended.json()["state"]) == (200, "ready")
    for _ in range(3):
        assert (await ask(payer)).status_code == 200
    assert house.calls().with_key(refused) == 2  # tried again, once


async def test_what_one_user_may_not_ask_takes_no_key_from_the_others(house: House, payer: Caller) -> None:
    keys = pool("a-", "b-")
    await put_platform_key(house.realm, KeyService.OPENAI, *keys)

    asked = await payer.ask("[simulate status=403]", flow="deep_analysis", max_tokens=20)
    await house.receipt(payer, asked.headers["latchkey-run-id"], attempts=len(keys))

    assert (asked.status_code, asked.json()["error"]["code"]) == (400, "invalid_request")
    assert {(await ask(payer)).status_code for _ in range(4)} == {200}
    seen = await states(house)
    assert {seen[key[-4:]]["state"] for key in keys} == {"ready"}


async def test_an_exhausted_pool_says_so_also_in_a_stream(house: House, payer: Caller) -> None:
    await put_platform_key(house.realm, KeyService.OPENROUTER, *pool("revoked-", "spent-"))
    for stream in (False, True):
        answer = await ask(payer, _OPENROUTER, stream=stream)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (503, "system_key_exhausted"), answer.text
        assert error["detail"] == "OPENROUTER_SYSTEM_KEY_EXHAUSTED"
        assert int(answer.headers["retry-after"]) >= 1
    [fresh] = pool("sound-")
    await put_platform_key(house.realm, KeyService.OPENROUTER, fresh)
    assert (await ask(payer, _OPENROUTER)).status_code == 200


async def test_a_pool_of_limited_keys_comes_back_by_itself(house: House, payer: Caller) -> None:
    await put_platform_key(house.realm, KeyService.OPENAI, *pool("a-", "b-"))
    limited = await payer.ask(
        f"[simulate status=429 retry_after={_COOL_S}]", flow="deep_analysis", max_tokens=20
    )
    began = time.monotonic()
    assert (limited.status_code, limited.json()["error"]["code"]) == (503, "system_key_exhausted")

    async def are_left_alone() -> bool:
        return (await ask(payer)).status_code == 503

    await eventually(are_left_alone, "limited keys are left alone", timeout_s=_COOL_S - 1)
    called = house.calls().chat
    assert (await ask(payer)).status_code == 503
    assert house.calls().chat == called
    await asyncio.sleep(began + _COOL_S + 0.5 - time.monotonic())
    assert (await ask(payer)).status_code == 200
