"""A simulator in process, without a socket."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from infra.simulator.app import create_app
from tests.unit.simulator.client import SimulatorClient


@pytest.fixture
async def simulator() -> AsyncIterator[SimulatorClient]:
    transport = httpx2.ASGITransport(app=create_app())
    async with httpx2.AsyncClient(transport=transport, base_url="http://simulator") as http:
        yield SimulatorClient(http)
