"""What the tests of the operators' tools share."""

import json
from collections.abc import AsyncIterator

import aio_pika
import pytest

from infra.bootstrap import Servers
from tests.realm import TestRealm, temporary_realm


@pytest.fixture(scope="session")
async def own(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRealm]:
    """A realm of this folder's own, for what would surprise other tests in the shared one."""
    async with temporary_realm(servers, tmp_path_factory.mktemp("own")) as made:
        yield made


async def record(realm: TestRealm, mark: str, *numbers: int) -> None:
    """Publish events that only the stream takes: nobody bills `credits.adjusted.v1`."""
    await put(realm, *(json.dumps({mark: number}).encode() for number in numbers))


async def put(realm: TestRealm, *bodies: bytes) -> None:
    """Put anything into the stream."""
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        exchange = await (await connection.channel()).get_exchange("usage", ensure=False)
        for body in bodies:
            await exchange.publish(aio_pika.Message(body), "credits.adjusted.v1")
