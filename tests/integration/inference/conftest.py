"""Inference on a real broker and Postgres, with the simulator as provider."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from shared.contracts.runs import RunRequested
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT, KeySource
from shared.kernel.prices import Price, Quote, Rate, Tariff
from shared.runtime.bus import Bus
from tests.fakes.inference import a_request
from tests.integration.inference.house import (
    Billing,
    Edge,
    KeyVault,
    StartingWorkers,
    StartWorker,
    worker_process,
)
from tests.nursery import Nursery
from tests.realm import TestRealm, temporary_realm
from tests.simulator import reset_calls, running_simulator

GOOD = "canary-sim-good-000111222333"
QUOTE = Quote(Price("v1", Rate(Decimal(1)), Rate(Decimal(2))), Tariff(Decimal("0.01"), Decimal(1)))


@pytest_asyncio.fixture(scope="package")
async def realm(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRealm]:
    async with temporary_realm(servers, tmp_path_factory.mktemp("realm")) as made:
        yield made


@pytest.fixture(scope="package")
def simulator_process() -> Iterator[str]:
    with running_simulator() as url:
        yield url


@pytest.fixture
def simulator(simulator_process: str) -> str:
    reset_calls(simulator_process)
    return simulator_process


@asynccontextmanager
async def a_bus(realm: TestRealm, service: str) -> AsyncIterator[Bus]:
    """A service's bus, to be started; stopped at the end."""
    bus = realm.bus(service, graceful_s=1)
    try:
        yield bus
    finally:
        await bus.stop()


@pytest_asyncio.fixture(scope="package")
async def edge(realm: TestRealm) -> AsyncIterator[Edge]:
    async with a_bus(realm, API_EDGE) as bus:
        made = Edge(bus)
        await bus.start()
        yield made


@pytest_asyncio.fixture(scope="package")
async def shared_key_vault(realm: TestRealm) -> AsyncIterator[KeyVault]:
    async with a_bus(realm, KEY_VAULT) as bus:
        made = KeyVault(bus)
        made.serve()
        await bus.start()
        yield made


@pytest_asyncio.fixture(scope="package")
async def shared_billing(realm: TestRealm) -> AsyncIterator[Billing]:
    async with a_bus(realm, BILLING) as bus:
        made = Billing()
        made.serve(bus)
        await bus.start()
        yield made


@pytest.fixture(autouse=True)
def key_vault(shared_key_vault: KeyVault) -> KeyVault:
    """Has one good key of the user's."""
    shared_key_vault.keys, shared_key_vault.refusal = [(KeySource.USER, GOOD)], None
    shared_key_vault.delay_s = 0
    return shared_key_vault


@pytest.fixture(autouse=True)
def billing(shared_billing: Billing) -> Billing:
    shared_billing.refusal = None
    shared_billing.quote = QUOTE
    shared_billing.priced.clear()
    shared_billing.asked.clear()
    shared_billing.usage.clear()
    return shared_billing


@pytest.fixture(scope="package")
def starting_workers(
    realm: TestRealm, parents: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> StartingWorkers:
    """Starts workers' processes, whose provider is at an address; more of their variables may be given."""
    folder = tmp_path_factory.mktemp("workers")

    @asynccontextmanager
    async def starting(provider: str) -> AsyncIterator[StartWorker]:
        async with AsyncExitStack() as stack:

            async def start(**variables: str) -> Any:
                env = {
                    **realm.env(INFERENCE),
                    "LATCHKEY_PROVIDERS__OPENAI__BASE_URL": f"{provider}/v1",
                    **{f"LATCHKEY_{name.upper()}": value for name, value in variables.items()},
                }
                return await stack.enter_async_context(worker_process(parents, env, folder))

            yield start

    return starting


@pytest.fixture
async def start_worker(starting_workers: StartingWorkers, simulator: str) -> AsyncIterator[StartWorker]:
    async with starting_workers(simulator) as start:
        yield start


@pytest.fixture
def a_run(edge: Edge) -> Callable[..., RunRequested]:
    """Makes a request that this edge waits for, of a user of its own: workers remember users' keys."""

    def make(prompt: str = "hello", **changes: Any) -> RunRequested:
        body = {"messages": [{"role": "user", "content": prompt}]}
        given = {"body": body, "reply_to": edge.bus.reply_to, "user_id": f"ann-{new_id()}"}
        return a_request(**{**given, **changes})

    return make
