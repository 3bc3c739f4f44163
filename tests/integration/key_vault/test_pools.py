"""Platform pools, sessions and opened keys on real parts: two replicas, what runs report, what ops do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import pytest

from shared.contracts.keys import SessionKeyIssued
from shared.contracts.platform_keys import ListPlatformKeys, MendPlatformKey, PlatformKeyInfo, PlatformKeys
from shared.contracts.resolving import KeyOpened
from shared.kernel.errors import PlatformError, SystemKeyExhaustedError, UserApiKeyInvalidError
from shared.kernel.ids import new_id
from shared.kernel.names import CredentialStatus, KeyPolicy, KeyService, KeySource, Outcome
from shared.runtime.bus import Bus
from tests.fakes.key_vault_asking import (
    limited,
    open_entered,
    opened,
    platform_id,
    refused,
    session_command,
    session_key,
    used,
)
from tests.fakes.key_vault_house import KEY
from tests.gate import Gates
from tests.integration.key_vault.clients import TIMEOUT_S, Edge, RpcWorker
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

Start = Callable[[], AbstractAsyncContextManager[Bus]]
Put = Callable[..., None]
PLATFORM: dict[str, Any] = {"policy": KeyPolicy.PLATFORM_ONLY}
TIMES = 12
"""Enough for both replicas to have their turns."""


@pytest.fixture
async def two(start: Start) -> AsyncIterator[None]:
    async with start(), start():
        yield


@pytest.fixture
def put(kv: Any, realm: TestRealm) -> Put:
    def put(*keys: str) -> None:
        kv.create_or_update_secret("platform/openai", {"api_keys": list(keys)}, mount_point=realm.name)

    return put


@pytest.fixture
def pool(put: Put) -> tuple[str, str]:
    """A pool of keys that no other test has marked."""
    keys = (f"sk-a-{uuid4().hex}", f"sk-b-{uuid4().hex}")
    put(*keys)
    return keys


async def lent(worker: RpcWorker) -> set[str]:
    """Ask often; return the keys, or the codes of refusals."""

    async def answer() -> str:
        try:
            return (await worker.resolve(**PLATFORM))[1]
        except PlatformError as error:
            return error.code

    return set(await asyncio.gather(*(answer() for _ in range(TIMES))))


async def lends_soon(worker: RpcWorker, *expected: str) -> None:
    """Wait until both replicas lend these and no others."""
    async with asyncio.timeout(5):
        while await lent(worker) != set(expected):
            await asyncio.sleep(0.05)


@pytest.mark.usefixtures("two")
async def test_what_one_run_met_every_replica_heeds(worker: RpcWorker, pool: tuple[str, str]) -> None:
    assert await lent(worker) == set(pool)
    await worker.bus.publish(refused(KeyService.OPENAI, pool[0]))
    await lends_soon(worker, pool[1])
    await worker.bus.publish(limited(KeyService.OPENAI, pool[1], 2))
    await lends_soon(worker, "system_key_exhausted")
    with pytest.raises(SystemKeyExhaustedError) as exhausted:
        await worker.resolve(**PLATFORM)
    assert exhausted.value.retry_after_s is not None
    assert 0 < exhausted.value.retry_after_s <= 2
    await lends_soon(worker, pool[1])


@pytest.mark.usefixtures("two")
async def test_ops_bring_a_key_back_by_hand_or_by_writing_it(
    worker: RpcWorker, edge: Edge, pool: tuple[str, str], put: Put
) -> None:
    await worker.bus.publish(refused(KeyService.OPENAI, pool[0]))
    await worker.bus.publish(refused(KeyService.OPENAI, pool[1]))
    await lends_soon(worker, "system_key_exhausted")
    mend = MendPlatformKey(credential_id=platform_id(KeyService.OPENAI, pool[0]))
    assert (await edge.bus.rpc.call(mend, PlatformKeyInfo, timeout_s=TIMEOUT_S)).state == "ready"
    assert await lent(worker) == {pool[0]}
    listed = await edge.bus.rpc.call(ListPlatformKeys(), PlatformKeys, timeout_s=TIMEOUT_S)
    assert [item.state for item in listed.items if item.service == KeyService.OPENAI] == ["ready", "out"]
    put(*pool)
    assert await lent(worker) == set(pool)


async def test_usage_waits_for_postgres(
    key_vault: Bus, worker: RpcWorker, edge: Edge, gates: Gates, pool: tuple[str, str]
) -> None:
    assert key_vault.connected
    user = f"user-{uuid4().hex}"
    kept = await edge.keep(KEY, user_id=user)
    failed = {"outcome": Outcome.FAILED, "error_code": "user_api_key_invalid", "user_id": user}
    await gates.postgres.close()
    await worker.bus.publish(refused(KeyService.OPENAI, pool[0]))
    await worker.bus.publish(used(credential_id=str(kept.id), credential_version=1, **failed))
    await asyncio.sleep(1.5)
    await gates.postgres.open()
    async with asyncio.timeout(15):
        while await lent(worker) != {pool[1]}:
            await asyncio.sleep(0.1)
        while (await edge.all_keys(user))[0].status is not CredentialStatus.INVALID:
            await asyncio.sleep(0.1)
    await worker.bus.publish(used(credential_id=str(kept.id), credential_version=1, user_id=user))
    async with asyncio.timeout(5):
        while (await edge.all_keys(user))[0].last_used_at is None:
            await asyncio.sleep(0.1)
    assert (await edge.all_keys(user))[0].status is CredentialStatus.ACTIVE


async def test_a_session_key_on_real_parts(key_vault: Bus, edge: Edge, worker: RpcWorker) -> None:
    assert key_vault.connected
    user = f"user-{uuid4().hex}"
    command = session_command(edge.public_key, user_id=user)
    issued = await edge.bus.rpc.call(command, SessionKeyIssued, timeout_s=TIMEOUT_S)
    assert await edge.all_keys(user) == ()
    run_id = new_id()
    sent = session_key(edge.public_key, run_id, issued.session_key, user_id=user)
    resolved, key = await worker.resolve(run_id=run_id, session_key=sent, user_id=user)
    assert (resolved.source, key) == (KeySource.SESSION, KEY)
    theirs = session_key(edge.public_key, run_id, issued.session_key, user_id="eve")
    with pytest.raises(UserApiKeyInvalidError) as refusal:
        await worker.resolve(run_id=run_id, session_key=theirs, user_id="eve")
    assert refusal.value.detail == "session_key_of_another_user"


async def test_a_key_is_opened_to_be_validated(key_vault: Bus, edge: Edge, worker: RpcWorker) -> None:
    assert key_vault.connected
    query = open_entered(edge.public_key, worker)
    answer = await worker.bus.rpc.call(query, KeyOpened, timeout_s=TIMEOUT_S)
    assert opened(worker, answer, query) == KEY
