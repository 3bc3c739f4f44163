"""What the tests of the operators' tools share."""

import json

import aio_pika

from tests.realm import TestRealm


async def record(realm: TestRealm, mark: str, *numbers: int) -> None:
    """Publish events that only the stream takes: nobody bills `credits.adjusted.v1`."""
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        exchange = await (await connection.channel()).get_exchange("usage", ensure=False)
        for number in numbers:
            message = aio_pika.Message(json.dumps({mark: number}).encode())
            await exchange.publish(message, "credits.adjusted.v1")
