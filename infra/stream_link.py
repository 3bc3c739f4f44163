"""A connection that reads one stream, one consumer at a time, with one acknowledgement for many messages."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from infra.broker_link import ANSWER_S, as_os_errors, connected

Start: TypeAlias = str | int | datetime
"""`first`, `last`, `next`, an offset, or a time: from the broker's chunk on, so earlier events come, too."""

_OFFSET: Final = "x-stream-offset"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at one offset. `sender`: the broker-validated user who published it; empty when none is."""

    offset: int
    sender: str
    body: bytes


class StreamLink:
    """Made by `linked`. Everything raises OSError when the broker is lost or refuses."""

    def __init__(self, connection: AbstractConnection, stream: str) -> None:
        self.entries: list[Entry] = []
        """What has come and was not taken."""
        self._connection = connection
        self._stream = stream
        self._channel: AbstractChannel | None = None
        self._tag = 0
        self._came = asyncio.Event()

    async def attach(self, start: Start, *, prefetch: int) -> None:
        """Read from `start` on, over a channel of its own."""
        with as_os_errors():
            async with asyncio.timeout(ANSWER_S):
                channel = await self._connection.channel(publisher_confirms=False)
                channel.closing.add_done_callback(self._lost)
                self._channel = channel
                await channel.basic_qos(prefetch_count=prefetch)
                await channel.basic_consume(
                    self._stream, self._taking(channel), arguments={_OFFSET: _sayable(start)}
                )

    async def count(self) -> int:
        """Return how many messages there are, about. What was due to come before the answer has come."""
        with as_os_errors():
            found = await self._attached.queue_declare(self._stream, passive=True, timeout=ANSWER_S)
        return found.message_count or 0

    async def detach(self) -> None:
        """Read no more; what has come is dropped."""
        channel, self._channel = self._attached, None
        with as_os_errors():
            async with asyncio.timeout(ANSWER_S):
                await channel.close()
        self.entries = []

    async def receive(self) -> None:
        """Wait until something has come."""
        await self._came.wait()
        self._came.clear()
        if self._attached.is_closed:
            raise ConnectionError("the broker ended the reading")

    async def acknowledge(self) -> None:
        """Take back all that has come: as much may follow."""
        with as_os_errors():
            await self._attached.basic_ack(self._tag, multiple=True, wait=False)

    @property
    def _attached(self) -> AbstractChannel:
        if self._channel is None:
            raise ConnectionError("nothing is being read")
        return self._channel

    def _taking(self, channel: AbstractChannel) -> Callable[[DeliveredMessage], Coroutine[None, None, None]]:
        async def take(message: DeliveredMessage) -> None:
            """What a channel still brings after `detach` is nobody's."""
            if channel is not self._channel:
                return
            properties = message.header.properties
            offset = int(str((properties.headers or {})[_OFFSET]))
            self._tag = message.delivery_tag or 0
            self.entries.append(Entry(offset, properties.user_id or "", message.body))
            self._came.set()

        return take

    def _lost(self, _: object) -> None:
        self._came.set()


def _sayable(start: Start) -> Start:
    """Return how AMQP can say it, which knows no time before 1970."""
    return "first" if isinstance(start, datetime) and start.timestamp() < 0 else start


@asynccontextmanager
async def linked(url: str, stream: str) -> AsyncIterator[StreamLink]:
    """Connect to read `stream`, while in the context. Raises ConnectionRefusedError when nobody answers."""
    async with connected(url) as connection:
        yield StreamLink(connection, stream)
