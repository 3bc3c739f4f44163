"""Whether a stream works, asked over AMQP: the management API tells it late."""

import asyncio

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from infra.bootstrap.realm import BootstrapError

_TIMEOUT_S = 5


def check_stream(amqp_url: str, stream: str) -> None:
    """Attach to the end of a stream and leave again. Raises BootstrapError when no replica serves it."""
    try:
        asyncio.run(_attach(amqp_url, stream))
    except (aio_pika.exceptions.AMQPError, OSError, TimeoutError) as error:
        raise BootstrapError(f"stream {stream} has no leader: {error!r}") from error


async def _attach(amqp_url: str, stream: str) -> None:
    async with asyncio.timeout(_TIMEOUT_S), await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        queue = await channel.get_queue(stream, ensure=False)
        tag = await queue.consume(_ignore, arguments={"x-stream-offset": "next"})
        await queue.cancel(tag)


async def _ignore(_message: AbstractIncomingMessage) -> None: ...
