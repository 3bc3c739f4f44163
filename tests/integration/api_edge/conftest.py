"""A realm for the edge alone, with gates before its servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from secrets import token_hex

import hvac
import pytest
import pytest_asyncio

from infra.bootstrap import Realm, Servers, mint_token
from services.api_edge.settings import EdgeSettings
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT
from shared.kernel.secret import SecretText
from tests.gate import Gates, free_port
from tests.integration.api_edge.house import (
    Billing,
    House,
    KeyVault,
    Validator,
    Worker,
    serving_edge,
)
from tests.realm import BusFor, TestRealm, temporary_realm
from tests.waiting import until


@pytest_asyncio.fixture(scope="package")
async def realm(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRealm]:
    async with temporary_realm(servers, tmp_path_factory.mktemp("realm")) as made:
        yield made


@pytest.fixture
def settings(realm: TestRealm, gates: Gates) -> EdgeSettings:
    """The realm's own settings, by way of the gates; runs may wait two seconds to start, and the grace."""
    values = gates.before(realm.settings(API_EDGE))
    values["http"] = {"port": free_port(), "grace_s": 1}
    times = {"start_timeout_s": 2, "rpc_timeout_s": 2, "validate_timeout_s": 2}
    return EdgeSettings(**{**values, "instance": token_hex(4), **times})


@pytest.fixture
async def house(realm: TestRealm, settings: EdgeSettings, bus_for: BusFor) -> AsyncIterator[House]:
    """Everything up and ready. The played services reach RabbitMQ past the gate."""
    buses = tuple(bus_for(service) for service in (INFERENCE, KEY_VAULT, BILLING))
    worker, vault, billing = buses
    key_vault = KeyVault(vault, await asyncio.to_thread(_private_key, realm))
    made = House(
        url=f"http://127.0.0.1:{settings.http.port}",
        worker=Worker(worker),
        key_vault=key_vault,
        validator=Validator(worker, key_vault),
        billing=Billing(billing),
        buses=buses,
    )
    for bus in buses:
        await bus.start()
    async with serving_edge(settings):
        await until(lambda: is_ready(made))
        yield made


async def is_ready(house: House) -> bool:
    async with house.client("none") as client:
        return (await client.get("/readyz")).is_success


@pytest.fixture
def mint(realm: TestRealm) -> Callable[..., Awaitable[str]]:
    """Makes an API token as an operator does."""

    async def make(user_id: str = "alice", role: str = "user") -> str:
        url = realm.admin["LATCHKEY_POSTGRES_URL"]
        return await asyncio.to_thread(mint_token, url, Realm(realm.name), user_id, role)

    return make


def _private_key(realm: TestRealm) -> SecretText:
    admin = hvac.Client(realm.admin["VAULT_ADDR"], realm.admin["VAULT_TOKEN"])
    try:
        found = admin.secrets.kv.v2.read_secret_version(
            "sealing/private", mount_point=realm.name, raise_on_deleted_version=True
        )
    finally:
        admin.adapter.close()
    return SecretText(found["data"]["data"]["private_key"])
