"""Sees every message of a realm's bus: as it passes, and what lies in the queues and in the stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from shared.contracts import topology

_QUIET_S = 0.4


@asynccontextmanager
async def spying(amqp_url: str) -> AsyncIterator[list[bytes]]:
    """Everything that passes any exchange meanwhile: body, headers and properties."""
    seen: list[bytes] = []
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        for exchange in topology.EXCHANGES:
            await queue.bind(exchange, routing_key="#")

        async def note(message: AbstractIncomingMessage) -> None:
            seen.append(_whole(message))

        await queue.consume(note, no_ack=True)
        yield seen


async def lying_in_queues(amqp_url: str) -> list[bytes]:
    """Everything in every work queue, dead letters too; it is put back where it was."""
    connection = await aio_pika.connect(amqp_url)
    seen: list[bytes] = []
    async with connection:
        for queue, arguments in topology.queues().items():
            if arguments["x-queue-type"] == "stream":
                seen += await _read_stream(await connection.channel(), queue)
            else:
                seen += await _drain(await connection.channel(), queue)
    return seen


async def _drain(channel: AbstractChannel, name: str) -> list[bytes]:
    queue = await channel.get_queue(name, ensure=False)
    seen: list[bytes] = []
    while message := await queue.get(fail=False):
        seen.append(_whole(message))
    await channel.close()  # unacknowledged: back into the queue
    return seen


async def _read_stream(channel: AbstractChannel, name: str) -> list[bytes]:
    """From offset 0 until nothing comes for a while."""
    await channel.set_qos(prefetch_count=500)
    queue = await channel.get_queue(name, ensure=False)
    seen: list[bytes] = []

    async def note(message: AbstractIncomingMessage) -> None:
        seen.append(_whole(message))
        await message.ack()

    tag = await queue.consume(note, arguments={"x-stream-offset": "first"})
    count = -1
    while count < len(seen):
        count = len(seen)
        await asyncio.sleep(_QUIET_S)
    await queue.cancel(tag)
    return seen


def _whole(message: AbstractIncomingMessage) -> bytes:
    return message.body + repr((message.headers, message.info())).encode()
