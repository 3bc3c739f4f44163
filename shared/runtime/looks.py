"""Looking at a queue without changing it."""

import asyncio
from contextlib import suppress
from typing import Final

from aio_pika.abc import AbstractRobustConnection
from aio_pika.exceptions import ChannelInvalidStateError
from pamqp.commands import Queue

_CLOSING_S: Final = 1.0


async def look_at(connection: AbstractRobustConnection, queue: str) -> Queue.DeclareOk:
    """Return how many messages and consumers a queue has.

    On a channel of its own, which the broker closes when there is no such queue: one of aiormq's, for each of
    aio-pika's (10.2) leaves callbacks on its connection for as long as that lasts. Raises what aiormq does.
    """
    transport = connection.transport
    if transport is None:
        raise ChannelInvalidStateError("not connected")
    channel = await transport.connection.channel(publisher_confirms=False)
    try:
        return await channel.queue_declare(queue, passive=True)
    finally:
        with suppress(TimeoutError):  # a broker that does not answer
            async with asyncio.timeout(_CLOSING_S):
                await channel.close()
