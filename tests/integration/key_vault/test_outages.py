"""Vault or Postgres away, stuck or back: typed errors in time, recovery, never the platform's key."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import pytest

from shared.kernel.errors import DatabaseUnavailableError, PlatformError, VaultUnavailableError
from shared.kernel.names import KeyPolicy, KeySource
from shared.runtime.bus import Bus
from tests.fakes.key_vault_house import KEY
from tests.gate import Gates
from tests.integration.key_vault.clients import Edge, RpcWorker
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

ASKERS_PATIENCE_S = 5
"""How long the edge and the workers wait for an answer."""
Start = Callable[[], AbstractAsyncContextManager[Bus]]


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex}"


@pytest.fixture
async def kept(key_vault: Bus, edge: Edge, kv: Any, realm: TestRealm, user: str) -> str:
    """A user with a key of their own, and a platform that has one too."""
    kv.create_or_update_secret("platform/openai", {"api_key": "sk-platform-1"}, mount_point=realm.name)
    assert key_vault.connected
    await edge.keep(KEY, user_id=user)
    return user


async def _resolves_again(worker: RpcWorker, user: str) -> None:
    resolved, key = await worker.resolve_in_time(user_id=user)
    assert (resolved.source, key) == (KeySource.USER, KEY)


async def test_vault_away_and_back(worker: RpcWorker, edge: Edge, gates: Gates, kept: str) -> None:
    await gates.vault.close()
    for policy in KeyPolicy:
        with pytest.raises(VaultUnavailableError) as away:
            await worker.resolve(user_id=kept, policy=policy)
        assert away.value.retry_after_s
    with pytest.raises(VaultUnavailableError):
        await edge.keep("sk-another-000001", user_id=kept)
    assert len(await edge.all_keys(kept)) == 1
    await gates.vault.open()
    await _resolves_again(worker, kept)


async def test_a_stuck_vault_is_given_up_in_time(worker: RpcWorker, gates: Gates, kept: str) -> None:
    gates.vault.freeze()
    began = asyncio.get_running_loop().time()
    with pytest.raises(VaultUnavailableError):
        await worker.resolve(user_id=kept)
    assert asyncio.get_running_loop().time() - began < ASKERS_PATIENCE_S
    await gates.vault.open()
    await _resolves_again(worker, kept)


async def test_a_stuck_postgres_is_given_up_in_time(worker: RpcWorker, gates: Gates, kept: str) -> None:
    gates.postgres.freeze()
    began = asyncio.get_running_loop().time()
    with pytest.raises(DatabaseUnavailableError):
        await worker.resolve(user_id=kept)
    assert asyncio.get_running_loop().time() - began < ASKERS_PATIENCE_S
    await gates.postgres.open()
    await _resolves_again(worker, kept)


async def test_postgres_away_and_back(worker: RpcWorker, edge: Edge, gates: Gates, kept: str) -> None:
    await gates.postgres.close()
    for policy in (KeyPolicy.USER_KEY_REQUIRED, KeyPolicy.USER_KEY_PREFERRED):
        with pytest.raises(DatabaseUnavailableError):
            await worker.resolve(user_id=kept, policy=policy)
    with pytest.raises(DatabaseUnavailableError):
        await edge.all_keys(kept)
    await gates.postgres.open()
    await _resolves_again(worker, kept)


async def test_it_starts_without_vault_and_serves_once_vault_is_there(
    start: Start, gates: Gates, worker: RpcWorker, user: str
) -> None:
    await gates.vault.close()
    starting = start()
    entered = asyncio.create_task(starting.__aenter__())
    await asyncio.sleep(1)
    assert not entered.done()
    await gates.vault.open()
    async with asyncio.timeout(10):
        await entered
    try:
        with pytest.raises(PlatformError):
            await worker.resolve(user_id=user, policy=KeyPolicy.USER_KEY_REQUIRED)
    finally:
        await starting.__aexit__(None, None, None)
