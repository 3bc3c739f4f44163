"""Real servers and a realm in them, for the tests that ask; rules that hold for all tests."""

import os
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack
from typing import Any, Final

import asyncpg
import hypothesis
import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from infra.local.home import CHECKOUT
from infra.local.install import rabbitmq_server
from shared.kernel.names import KEY_VAULT
from shared.kernel.secret import SecretText
from shared.runtime.bus import Bus
from shared.runtime.postgres import create_pool
from shared.runtime.vault import VaultClient
from tests.gate import Gates, open_gates
from tests.nursery import Nursery, nursery
from tests.realm import BusFor, PoolFor, TestRealm, VaultFor, temporary_realm
from tests.servers import Way, choose, has_docker, running_servers

_LEVELS: Final = (
    "unit",
    "component",
    "conformance",
    "integration",
    "acceptance",
    "clients",
    "fuzz",
    "chaos",
    "cluster",
    "bench",
)
_WITHOUT_SERVERS: Final = {"unit", "component"}


def pytest_configure(config: pytest.Config) -> None:
    """Install what the native stack needs before two processes need it, and outside any test's time."""
    # Beside other processes any example may take long.
    hypothesis.settings.register_profile("latchkey", deadline=None)
    hypothesis.settings.load_profile("latchkey")
    _compile_once()
    is_first_of_many = getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput")
    if is_first_of_many and choose(os.environ, has_docker) is Way.NATIVE:
        rabbitmq_server(print)


def _compile_once() -> None:
    """Where nobody may put bytecode beside the sources, each process would compile everything for itself: all
    that the tests start share a place for it.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ["PYTHONPYCACHEPREFIX"] = str(CHECKOUT / ".latchkey" / "bytecode")


def pytest_report_header() -> str:
    return f"servers for the tests that need them: {choose(os.environ, has_docker)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hold every test to its level, and run the cheap levels first; in several processes last, so that all
    of them are busy to the end.
    """
    levels = {item: _level(item) for item in items}
    for item, level in levels.items():
        if level in _WITHOUT_SERVERS and "servers" in getattr(item, "fixturenames", ()):
            raise pytest.UsageError(f"{item.nodeid}: a {level} test asks for real servers")
    items.sort(key=lambda item: _LEVELS.index(levels[item]), reverse=hasattr(config, "workerinput"))


def _level(item: pytest.Item) -> str:
    found = [level for level in _LEVELS if item.get_closest_marker(level)]
    if len(found) != 1:
        raise pytest.UsageError(f"{item.nodeid}: mark it with one of {', '.join(_LEVELS)}")
    return found[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test is a failed one: it shows nothing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A skipped module is a failed one."""
    report = yield
    if report.outcome == "skipped":
        report.outcome = "failed"
    return report


@pytest_asyncio.fixture(scope="session")
async def servers() -> AsyncIterator[Servers]:
    """A real RabbitMQ, Vault and Postgres, with administrators' addresses."""
    async with AsyncExitStack() as stack:
        try:
            running = await stack.enter_async_context(running_servers(choose(os.environ, has_docker)))
        except (RuntimeError, OSError) as error:
            pytest.exit(f"no servers for the tests: {error}", returncode=1)  # once, not once a test
        yield running


@pytest_asyncio.fixture(scope="session")
async def realm(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRealm]:
    """A bootstrapped realm, shared by the session's tests: use ids of your own."""
    async with temporary_realm(servers, tmp_path_factory.mktemp("realm")) as made:
        yield made


@pytest_asyncio.fixture(scope="session")
async def parents() -> AsyncIterator[Nursery]:
    """Where the services of this session's tests are born: what they all import is imported once."""
    async with nursery() as made:
        yield made


@pytest_asyncio.fixture
async def gates(realm: TestRealm) -> AsyncIterator[Gates]:
    """Before the servers, for whoever is told of them by `gates.before(realm.settings(…))`."""
    async with open_gates(realm.settings(KEY_VAULT)) as opened:
        yield opened


@pytest_asyncio.fixture
async def bus_for(realm: TestRealm) -> AsyncIterator[BusFor]:
    """Makes a service's bus, not started yet; stops it after the test."""
    made: list[Bus] = []

    def make(service: str) -> Bus:
        made.append(realm.bus(service))
        return made[-1]

    yield make
    for bus in made:
        await bus.stop()


@pytest_asyncio.fixture
async def pool_for(realm: TestRealm) -> AsyncIterator[PoolFor]:
    """Makes a service's Postgres pool; closes it after the test."""
    made: list[asyncpg.Pool[Any]] = []

    async def make(service: str) -> "asyncpg.Pool[Any]":
        made.append(await create_pool(SecretText(realm.env(service)["LATCHKEY_POSTGRES_URL"])))
        return made[-1]

    yield make
    for pool in made:
        await pool.close()


@pytest_asyncio.fixture
async def vault_for(realm: TestRealm) -> AsyncIterator[VaultFor]:
    """Makes a service's Vault client, logged in; stops it after the test."""
    made: list[VaultClient] = []

    async def make(service: str) -> VaultClient:
        env = realm.env(service)
        secret_id = SecretText(env["LATCHKEY_VAULT_SECRET_ID"])
        client = VaultClient(env["LATCHKEY_VAULT_ADDR"], env["LATCHKEY_VAULT_ROLE_ID"], secret_id)
        await client.start()
        made.append(client)
        return client

    yield make
    for client in made:
        await client.stop()
