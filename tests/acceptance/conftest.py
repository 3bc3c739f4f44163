"""One house for all acceptance tests; each finds it whole."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from tests.acceptance.house import House, running_house
from tests.nursery import Nursery
from tests.realm import temporary_realm


@pytest_asyncio.fixture(scope="session")
async def _house(
    parents: Nursery, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """The nursery first: it imports what it has to while the servers start."""
    folder = tmp_path_factory.mktemp("house")
    async with (
        temporary_realm(servers, folder) as realm,
        running_house(realm, folder, workers=3, parents=parents) as house,
    ):
        yield house


@pytest_asyncio.fixture
async def house(_house: House) -> House:
    """The house, whole before the test, whatever the one before broke."""
    await _house.restore()
    return _house


@pytest_asyncio.fixture(scope="module")
async def pair(
    servers: Servers, parents: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """Two edges, one worker."""
    folder = tmp_path_factory.mktemp("pair")
    async with (
        temporary_realm(servers, folder) as realm,
        running_house(realm, folder, workers=1, edges=2, gated=False, parents=parents) as house,
    ):
        yield house
