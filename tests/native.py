"""The servers of a native stack in a home of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infra.bootstrap import Servers


@asynccontextmanager
async def native_servers() -> AsyncIterator[Servers]:
    """RabbitMQ, OpenBao and Postgres on ports of their own."""
    raise NotImplementedError
    yield
