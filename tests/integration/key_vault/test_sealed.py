"""A Vault that is sealed while key_vault works: a server of the test's own, nobody else's is sealed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from infra.bootstrap import Realm
from infra.bootstrap.vault import prepare
from services.key_vault.app import serving
from services.key_vault.settings import KeyVaultSettings
from shared.kernel.errors import VaultUnavailableError
from shared.kernel.names import KEY_VAULT, KeyPolicy, KeySource
from tests.fakes.key_vault_house import KEY
from tests.integration.key_vault.clients import Edge, RpcWorker
from tests.own_vault import ROOT, OwnVault, own_vault
from tests.realm import BusFor, TestRealm

pytestmark = pytest.mark.integration


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[OwnVault]:
    async with own_vault(tmp_path) as vault:
        yield vault


@pytest.fixture
async def edge(realm: TestRealm, vault: OwnVault, bus_for: BusFor) -> AsyncIterator[Edge]:
    """The edge of a key_vault that works with this Vault."""
    servers = replace(realm.servers, vault_addr=vault.addr, vault_token=ROOT)
    logins = await asyncio.to_thread(
        prepare, servers, Realm(realm.name), {}, timeout_s=20, progress=lambda _line: None
    )
    values = realm.settings(KEY_VAULT)
    role_id, secret_id = logins[KEY_VAULT]
    values |= {"vault_addr": vault.addr, "vault_role_id": role_id, "vault_secret_id": secret_id}
    bus = bus_for("api_edge")
    await bus.start()
    async with serving(KeyVaultSettings(**values)):
        yield Edge(bus, _read(vault, realm, "sealing/public")["public_key"])


def _read(vault: OwnVault, realm: TestRealm, path: str) -> dict[str, Any]:
    answer = vault.client().secrets.kv.v2.read_secret_version(
        path, mount_point=realm.name, raise_on_deleted_version=True
    )
    data: dict[str, Any] = answer["data"]["data"]
    return data


async def _is_unavailable_within(worker: RpcWorker, user: str, seconds: float) -> None:
    """Until then a warm user may still be served; from then on nobody is."""
    clock = asyncio.get_running_loop().time
    sealed_at = clock()
    answered_at = sealed_at
    while clock() - sealed_at < 3 * seconds:
        try:
            await worker.resolve(user_id=user)
            answered_at = clock()
        except VaultUnavailableError:
            await asyncio.sleep(0.01)
    assert answered_at - sealed_at < seconds


async def test_a_sealed_vault_is_unavailable_until_it_is_unsealed(
    vault: OwnVault, edge: Edge, worker: RpcWorker, realm: TestRealm
) -> None:
    user, admin = f"user-{uuid4().hex}", vault.client()
    platform = {"api_key": "sk-platform-000001"}
    admin.secrets.kv.v2.create_or_update_secret("platform/openai", platform, mount_point=realm.name)
    await edge.keep(KEY, user_id=user)
    await worker.warm(edge, user)

    admin.sys.seal()  # type: ignore[no-untyped-call]
    await _is_unavailable_within(worker, user, 0.5)
    for policy in KeyPolicy:
        with pytest.raises(VaultUnavailableError):
            await worker.resolve(user_id=user, policy=policy)
    with pytest.raises(VaultUnavailableError):
        await edge.keep("sk-another-000001", user_id=user)

    admin.sys.submit_unseal_key(vault.unseal_key)
    resolved, key = await worker.resolve_in_time(user_id=user)
    assert (resolved.source, key) == (KeySource.USER, KEY)
    await worker.warm(edge, user)
