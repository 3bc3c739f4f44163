"""The queues that an instance alone consumes: what is sent to it, and what every instance is told."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from aio_pika.abc import AbstractRobustChannel, AbstractRobustConnection
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from shared.contracts import topology
from shared.kernel.errors import ForbiddenError, InvalidRequestError
from shared.runtime.delivery import Delivery, Handler
from shared.runtime.logs import get_logger
from shared.runtime.publisher import AWAY

_RETRY_S: Final = 1.0


class OwnQueues:
    """Exclusive, with other names on each connection: the broker may take a broken one for alive for half a
    minute, and locks its queues.
    """

    def __init__(
        self, service: str, instance: str, realm: str, *, on_reply: Callable[[Delivery], None]
    ) -> None:
        self._service = service
        self._instance = instance
        self._realm = realm
        self._on_reply = on_reply
        self._broadcasts: dict[str, Handler] = {}
        self._channels: list[AbstractRobustChannel] = []
        self._ending: asyncio.Task[None] | None = None
        self.name_anew()

    @property
    def reply_to(self) -> str:
        return topology.reply_key(self._service, self._place)

    def name_of(self, exchange: str) -> str:
        """Return the name of the queue that hears what is told on an exchange."""
        return topology.instance_queue(exchange, self._service, self._place)

    def name_anew(self) -> None:
        """Let the next connection have others."""
        self._place = f"{self._instance}-{secrets.token_hex(4)}"
        self._ending = None

    def on_broadcast(self, exchange: str, handler: Handler) -> None:
        self._broadcasts[exchange] = handler

    async def start(self, connection: AbstractRobustConnection) -> None:
        await self._on_each(connection, self._consume_replies)
        for exchange, handler in self._broadcasts.items():
            await self._on_each(connection, self._broadcast_consumer(exchange, handler))

    async def _on_each(
        self,
        connection: AbstractRobustConnection,
        consume: Callable[[AbstractRobustChannel], Awaitable[None]],
    ) -> None:
        """Consume on a channel of its own, on this connection and each that comes after it."""

        async def consume_again(channel: AbstractRobustChannel | None, *_: object) -> None:
            if channel is None or self._ending is not None:
                return
            try:
                await consume_here(channel)
            except Exception as error:  # noqa: BLE001 - aio-pika would tell nobody, and we would be deaf
                get_logger().warning("cannot consume our own queues", reason=type(error).__name__)
                self._give_up(connection)

        async def consume_here(channel: AbstractRobustChannel) -> None:
            (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(deleted)
            await consume(channel)

        def deleted(_: Basic.Cancel) -> None:
            get_logger().warning("our own queue was deleted")
            self._give_up(connection)

        channel = await connection.channel()
        self._channels.append(channel)  # aio-pika opens anew only those that somebody holds
        await consume_here(channel)
        channel.reopen_callbacks.add(consume_again)

    def _give_up(self, connection: AbstractRobustConnection) -> None:
        if self._ending is None or self._ending.done():
            self._ending = asyncio.create_task(_end(connection))

    async def _consume_replies(self, channel: AbstractRobustChannel) -> None:
        async def replied(message: DeliveredMessage) -> None:
            self._on_reply(Delivery.told(message, self._realm))

        await _consume(channel, self.reply_to, "replies", replied, routing_key=self.reply_to)

    def _broadcast_consumer(
        self, exchange: str, handler: Handler
    ) -> Callable[[AbstractRobustChannel], Awaitable[None]]:
        async def told(message: DeliveredMessage) -> None:
            try:
                await handler(Delivery.told(message, self._realm))
            except (InvalidRequestError, ForbiddenError) as error:
                get_logger().error("broadcast refused", exchange=exchange, code=error.code)

        async def consume(channel: AbstractRobustChannel) -> None:
            await _consume(channel, self.name_of(exchange), exchange, told, routing_key="#")

        return consume


async def _consume(
    channel: AbstractRobustChannel,
    name: str,
    exchange: str,
    handler: Callable[[DeliveredMessage], Coroutine[Any, Any, None]],
    *,
    routing_key: str,
) -> None:
    """aio-pika's own consumer takes two tasks for each message, aiormq's takes one."""
    queue = await channel.declare_queue(name, exclusive=True, auto_delete=True, robust=False)
    await queue.bind(exchange, routing_key=routing_key)
    underlay = await channel.get_underlay_channel()
    await underlay.basic_consume(name, handler, no_ack=True)


async def _end(connection: AbstractRobustConnection) -> None:
    """End what is under a connection after a while, so that it is made anew."""
    transport = connection.transport
    await asyncio.sleep(_RETRY_S)
    if transport is not None:
        with suppress(*AWAY):
            await transport.connection.close()
