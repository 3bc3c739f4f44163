"""Vault is sealed under load: typed refusals, never another key; unsealed, all goes on by itself."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import httpx2
import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from tests.acceptance.callers import MODEL, Caller, error_of
from tests.acceptance.house import PLATFORM_KEY, House, eventually, running_house
from tests.nursery import Nursery
from tests.own_vault import ROOT, OwnVault, own_vault
from tests.realm import temporary_realm

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

OWNERS: Final = 8
SEALED_S: Final = 3.0
NOTICED_S: Final = 0.25
"""How long after the sealing a run that had its key already may still begin."""


@pytest_asyncio.fixture(scope="module")
async def vault(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnVault]:
    async with own_vault(tmp_path_factory.mktemp("vault")) as mine:
        yield mine


@pytest_asyncio.fixture(scope="module")
async def sealable(
    servers: Servers, parents: Nursery, vault: OwnVault, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    mine, folder = replace(servers, vault_addr=vault.addr, vault_token=ROOT), tmp_path_factory.mktemp("house")
    async with (
        temporary_realm(mine, folder) as realm,
        running_house(realm, folder, workers=1, gated=False, parents=parents) as house,
    ):
        yield house


async def test_a_vault_sealed_under_load(sealable: House, vault: OwnVault) -> None:
    house = sealable
    owners = [await an_owner(house) for _ in range(OWNERS)]
    answers: list[tuple[float, httpx2.Response]] = []
    load = [asyncio.create_task(ask_on(owner, answers)) for owner in owners]
    try:
        await eventually(lambda: has_answers(answers, OWNERS), "the load is on")
        await asyncio.to_thread(vault.seal)
        sealed_at = time.monotonic()
        await asyncio.sleep(SEALED_S)
        meanwhile = [answer for began, answer in answers if began > sealed_at + NOTICED_S]
        assert len(meanwhile) >= OWNERS
        assert {error_of(answer) for answer in meanwhile} == {(503, "vault_unavailable")}
        assert {"retry-after"} <= {name for answer in meanwhile for name in answer.headers}

        await asyncio.to_thread(vault.unseal)
        unsealed_at = time.monotonic()
        await eventually(lambda: is_served(answers, unsealed_at), "runs go through again by themselves")
    finally:
        for task in load:
            task.cancel()
    assert house.calls().with_key(PLATFORM_KEY) == 0, "the platform's key served a user who has one"
    for owner in owners:
        assert await owner.balance_micros() == 1_000_000


async def an_owner(house: House) -> Caller:
    """A user with a key, credits, and leave to fall back."""
    owner = await house.caller("owner")
    await owner.store_key(f"sk-sim-own-{secrets.token_hex(8)}")
    await house.grant(owner, 1_000_000)
    return owner


async def ask_on(caller: Caller, answers: list[tuple[float, httpx2.Response]]) -> None:
    while True:
        began = time.monotonic()
        answers.append((began, await caller.ask("are you there?")))
        await asyncio.sleep(0.02)


async def has_answers(answers: list[tuple[float, httpx2.Response]], count: int) -> bool:
    return sum(answer.is_success for _, answer in answers) >= count


async def is_served(answers: list[tuple[float, httpx2.Response]], since: float) -> bool:
    return any(began > since and answer.is_success for began, answer in answers)


async def test_what_was_refused_while_vault_was_sealed_may_be_asked_again_with_its_key(
    sealable: House, vault: OwnVault
) -> None:
    owner = await an_owner(sealable)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "are you there?"}]}

    async def ask() -> httpx2.Response:
        return await owner.http.post(
            "/v1/chat/completions", json=body, headers={"Idempotency-Key": "the-same"}
        )

    await asyncio.to_thread(vault.seal)
    refused = await ask()
    assert error_of(refused) == (503, "vault_unavailable")
    await asyncio.to_thread(vault.unseal)

    async def is_answered() -> bool:
        return (await ask()).is_success

    await eventually(is_answered, "the same request goes through")
    assert (await ask()).headers["latchkey-run-id"] != refused.headers["latchkey-run-id"]
