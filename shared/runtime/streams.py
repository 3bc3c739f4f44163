"""Whether what is published reaches the streams.

While RabbitMQ starts, a durable stream is missing in its routing until it has a leader. What is published
meanwhile goes to the other queues alone, and is confirmed (3.10, measured under `make chaos ONLY=rabbitmq`).
"""

import asyncio
from typing import Final

import aiormq
from aio_pika.abc import AbstractRobustConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from shared.contracts import topology
from shared.runtime.looks import look_at

_LOOK_S: Final = 0.05
_ANSWER_S: Final = 5.0


class Streams:
    """Looks once a connection that an exchange's streams are there: they stay as long as the broker does."""

    def __init__(self, connection: AbstractRobustConnection) -> None:
        self._connection = connection
        self._there: set[str] = set()
        self._connections = 0
        self._looking = asyncio.Lock()
        connection.close_callbacks.add(self._lost)

    async def wait_for(self, exchange: str) -> None:
        """Return when an exchange's streams are there. Raises TimeoutError, and what aio-pika raises."""
        if exchange in self._there:
            return
        async with asyncio.timeout(_ANSWER_S), self._looking:
            while exchange not in self._there:
                connection = self._connections
                if not await self._are_there(topology.streams_of(exchange)):
                    await asyncio.sleep(_LOOK_S)
                elif connection == self._connections:
                    self._there.add(exchange)

    async def _are_there(self, streams: tuple[str, ...]) -> bool:
        for stream in streams:
            if not await self._is_there(stream):
                return False
        return True

    async def _is_there(self, stream: str) -> bool:
        """A broker that does not let us ask is taken at its word."""
        try:
            await look_at(self._connection, stream)
        except ChannelNotFoundEntity:
            return False
        except aiormq.exceptions.ChannelAccessRefused:
            return True
        return True

    def _lost(self, *_: object) -> None:
        self._connections += 1
        self._there.clear()
