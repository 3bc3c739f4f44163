"""One native stack for all experiments; each has a house of its own in it."""

from collections.abc import AsyncIterator

import pytest_asyncio

from infra.local.home import Home
from tests.native import native_home


@pytest_asyncio.fixture(scope="session")
async def home() -> AsyncIterator[Home]:
    async with native_home() as running:
        yield running
