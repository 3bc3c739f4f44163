"""key_vault on real parts, in a realm of its own, with gates before Vault, Postgres and RabbitMQ."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import hvac
import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from services.key_vault.app import serving
from services.key_vault.settings import KeyVaultSettings
from shared.kernel.names import API_EDGE, INFERENCE, KEY_VAULT
from shared.runtime.bus import Bus
from tests.gate import Gates
from tests.integration.key_vault.clients import Edge, RpcWorker
from tests.realm import BusFor, TestRealm, VaultFor, temporary_realm


@pytest_asyncio.fixture(scope="package")
async def realm(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRealm]:
    async with temporary_realm(servers, tmp_path_factory.mktemp("realm")) as made:
        yield made


@pytest.fixture
def start(realm: TestRealm, gates: Gates) -> Callable[[], AbstractAsyncContextManager[Bus]]:
    """Starts key_vault, in this process, behind the gates."""
    values = gates.before(realm.settings(KEY_VAULT))

    @asynccontextmanager
    async def started() -> AsyncIterator[Bus]:
        async with serving(KeyVaultSettings(**values)) as bus:
            yield bus

    return started


@pytest.fixture
async def key_vault(start: Callable[[], AbstractAsyncContextManager[Bus]]) -> AsyncIterator[Bus]:
    async with start() as bus:
        yield bus


@pytest.fixture
async def edge(realm: TestRealm, bus_for: BusFor, vault_for: VaultFor) -> Edge:
    """What the edge does with keys: it reads the public key where it is anchored."""
    vault = await vault_for(API_EDGE)
    answer: dict[str, Any] = await vault.call(
        lambda client: client.secrets.kv.v2.read_secret_version(
            "sealing/public", mount_point=realm.name, raise_on_deleted_version=True
        )
    )
    bus = bus_for(API_EDGE)
    await bus.start()
    return Edge(bus, answer["data"]["data"]["public_key"])


@pytest.fixture
async def worker(bus_for: BusFor) -> RpcWorker:
    bus = bus_for(INFERENCE)
    await bus.start()
    return RpcWorker(bus)


@pytest.fixture
def kv(realm: TestRealm) -> Iterator[Any]:
    """The administrator's hand on the platform's keys."""
    admin = hvac.Client(realm.admin["VAULT_ADDR"], realm.admin["VAULT_TOKEN"])
    yield admin.secrets.kv.v2
    admin.secrets.kv.v2.delete_metadata_and_all_versions("platform/openai", mount_point=realm.name)
    admin.adapter.close()
