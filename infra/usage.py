"""Reading the usage stream as an analyst does: from any offset or time, once or for ever."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime

import aio_pika
import orjson
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from shared.contracts.topology import USAGE_EVENTS

_PREFETCH = 200  # streams want one
_SILENCE_S = 1.0
_RETRY_S = 1.0

Offset = str | int | datetime


async def events(amqp_url: str, offset: Offset, *, follow: bool) -> AsyncGenerator[str, None]:
    """Yield the stream's events from `offset` (first, last, next, a number, a time) as JSON texts.

    Ends after a second of silence, or never when `follow`: then a lost connection is made anew, and goes on
    after the last event seen. What is no JSON object was put there by no service, and is passed over.
    Raises OSError while not following and there is no broker.
    """
    while True:
        messages = _messages(amqp_url, offset, silence_s=None if follow else _SILENCE_S)
        try:
            async with aclosing(messages):
                async for message in messages:
                    offset = int(str(message.headers["x-stream-offset"])) + 1
                    if _is_object(message.body):
                        yield message.body.decode()
        except (AMQPError, OSError) as error:
            if not follow:
                raise OSError(f"the broker gives no usage events: {error!r}") from error
        if not follow:
            return
        await asyncio.sleep(_RETRY_S)


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(orjson.loads(body), dict)
    except orjson.JSONDecodeError:
        return False


async def _messages(
    amqp_url: str, offset: Offset, *, silence_s: float | None
) -> AsyncGenerator[AbstractIncomingMessage, None]:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=_PREFETCH)
        stream = await channel.get_queue(USAGE_EVENTS, ensure=False)
        arguments = {"x-stream-offset": offset}
        try:
            async with stream.iterator(arguments=arguments, timeout=silence_s) as messages:
                async for message in messages:
                    await message.ack()
                    yield message
        except TimeoutError:
            return
