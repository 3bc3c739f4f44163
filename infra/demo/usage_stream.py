"""Reading the usage stream as an analyst does: from its beginning, each event once."""

import asyncio
from collections.abc import Callable

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from infra.demo.checks import StoryError
from shared.contracts.message import Envelope
from shared.contracts.topology import USAGE_EVENTS

_PREFETCH = 200

Events = dict[str, Envelope]


async def read_usage_events(
    amqp_url: str,
    wanted: Callable[[Envelope], bool],
    enough: Callable[[Events], bool],
    *,
    timeout_s: float = 20.0,
) -> Events:
    """Read events from offset 0 until `enough`; by id, so that a redelivered one counts once.

    Raises StoryError when they do not come in time.
    """
    found: Events = {}
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=_PREFETCH)
        queue = await channel.get_queue(USAGE_EVENTS, ensure=False)
        try:
            async with asyncio.timeout(timeout_s):
                await _collect(queue, wanted, enough, found)
        except TimeoutError:
            raise StoryError(f"the stream held only {_told(found)} after {timeout_s:.0f} s") from None
    return found


async def _collect(
    queue: AbstractQueue, wanted: Callable[[Envelope], bool], enough: Callable[[Events], bool], found: Events
) -> None:
    done = asyncio.Event()

    async def on_message(message: AbstractIncomingMessage) -> None:
        await message.ack()
        envelope = Envelope.decode(message.body)
        if wanted(envelope):
            found[envelope.id] = envelope
            if enough(found):
                done.set()

    await queue.consume(on_message, arguments={"x-stream-offset": "first"})
    await done.wait()


def _told(found: Events) -> str:
    return ", ".join(sorted(event.type for event in found.values())) or "nothing of these runs"
