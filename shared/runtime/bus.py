"""The bus: one RabbitMQ connection per service, on which FastStream consumes message by message.

What comes in great numbers is consumed in batches, without it.

Nothing is declared but this connection's own exclusive queues: the bootstrap has declared the rest.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Self
from urllib.parse import unquote, urlsplit
from uuid import UUID

from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity
from pamqp.commands import Queue
from prometheus_client import CollectorRegistry

from shared.contracts.message import Message
from shared.contracts.rpc import RpcReply
from shared.kernel.secret import SecretText
from shared.runtime.acknowledging import acknowledge
from shared.runtime.batches import BATCH_SIZE, LINGER_MS, BatchConsumer, BatchHandler, Urgency, never
from shared.runtime.broker import RECONNECT_S, consume, make_broker, stop_consuming
from shared.runtime.delivery import Delivery, Handler
from shared.runtime.logs import get_logger
from shared.runtime.looks import look_at
from shared.runtime.metrics import BusMeters
from shared.runtime.own_queues import OwnQueues
from shared.runtime.publisher import AWAY, TIMEOUT_S, Publisher, Written, bus_unavailable
from shared.runtime.rpc import RpcClient
from shared.runtime.settings import ServiceSettings
from shared.runtime.traced_consuming import traced_batches, traced_consumer
from shared.runtime.tracing import OFF, Tracing
from shared.runtime.watchdog import QueueMissingError, watch_consumers

_GRACEFUL_S: Final = 15.0


class Bus:
    """A service's place on the bus. Register handlers, then `start()`.

    `graceful_s`: how long `drain()` waits for handlers that are at work. `registry`: counts its messages;
    `tracing`: traces them.
    """

    def __init__(
        self,
        url: SecretText,
        *,
        service: str,
        instance: str,
        realm: str = "latchkey",
        graceful_s: float = _GRACEFUL_S,
        registry: CollectorRegistry | None = None,
        tracing: Tracing = OFF,
    ) -> None:
        self.service = service
        self.tracing = tracing
        self.meters = BusMeters(registry or CollectorRegistry())
        self.realm = realm
        self.on_lost: list[Callable[[], None]] = []
        self.rpc = RpcClient(self, self.tracing)
        self._own = OwnQueues(service, instance, realm, on_reply=self._replied)
        user = unquote(urlsplit(url.reveal()).username or "")
        self._publisher = Publisher(service=service, user=user, tracing=self.tracing)
        self._watchdog: asyncio.Task[None] | None = None
        self._stopping = False
        self._away = False
        self._on_reply: Callable[[Delivery], None] | None = None
        self._queues: list[str] = []
        self._batches: list[BatchConsumer] = []
        self._graceful_s = graceful_s
        self._connection: AbstractRobustConnection | None = None
        self.broker = make_broker(url, graceful_s=graceful_s)

    @classmethod
    def of(
        cls,
        service: str,
        settings: ServiceSettings,
        *,
        registry: CollectorRegistry,
        tracing: Tracing,
        graceful_s: float = _GRACEFUL_S,
    ) -> Self:
        """Make a service's bus from its settings."""
        return cls(
            settings.amqp_url,
            service=service,
            instance=settings.instance,
            realm=settings.realm,
            graceful_s=graceful_s,
            registry=registry,
            tracing=tracing,
        )

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, waiting for RabbitMQ as long as it takes, and begin to consume."""
        connection = await self._connect()
        self._connection = connection
        connection.close_callbacks.add(self._lost)
        connection.reconnect_callbacks.add(self._back)
        await self._publisher.open(connection)
        await self._own.start(connection)
        await self.broker.start()
        for consumer in self._batches:
            await consumer.start(connection)
        self._watchdog = asyncio.create_task(watch_consumers(self.consumers, self._queues))

    async def drain(self) -> None:
        """Take no more messages; wait for the handlers at work (at most `graceful_s`)."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        await stop_consuming(self.broker)
        for consumer in self._batches:
            await consumer.stop_consuming()
        finishing = [consumer.finish(self._graceful_s) for consumer in self._batches]
        await asyncio.gather(*(subscriber.stop() for subscriber in self.broker.subscribers), *finishing)

    async def stop(self) -> None:
        await self.drain()
        self._stopping = True
        await self.broker.stop()

    @property
    def reply_to(self) -> str:
        """Where this instance is answered; another place after each loss of the connection."""
        return self._own.reply_to

    @property
    def connected(self) -> bool:
        return self._publisher.connected

    # -- publishing ---------------------------------------------------------------------------------------

    async def publish(
        self, message: Message, *, event_id: str | None = None, subject: str | None = None
    ) -> None:
        """Publish persistently and wait for the broker's confirm. Raises BusUnavailableError."""
        await self._publisher.publish(message, event_id=event_id, subject=subject)

    async def publish_all(self, exchange: str, events: Sequence[Written]) -> list[UUID]:
        """Publish events as they are written, as `publish` does, many at once.

        Return the ids of those that the broker confirmed. Raises BusUnavailableError when not connected.
        """
        return await self._publisher.publish_all(exchange, events)

    async def relay(self, message: Message, reply_to: str) -> None:
        """Tell one waiting instance something, unconfirmed and in order. Raises BusUnavailableError."""
        await self._publisher.send(message, key=reply_to)

    async def reply(self, to: Delivery, answer: RpcReply) -> None:
        """Answer an RPC. Raises BusUnavailableError."""
        if to.reply_to is not None:
            await self._publisher.send(answer, key=to.reply_to, correlation_id=to.correlation_id)

    async def request(self, message: Message, *, correlation_id: str, ttl_s: float) -> None:
        """Send an RPC request that the broker drops after `ttl_s`. Raises BusUnavailableError."""
        await self._publisher.send(
            message, correlation_id=correlation_id, reply_to=self.reply_to, ttl_s=ttl_s
        )

    # -- consuming ----------------------------------------------------------------------------------------

    def subscribe(self, queue: str, handler: Handler, *, prefetch: int) -> None:
        """Consume a work queue. Call before `start()`.

        The handler returns: acknowledged. It raises InvalidRequestError or ForbiddenError: dead-lettered.
        It raises anything else: back to the queue after a pause, until the delivery limit dead-letters it.
        """
        traced = traced_consumer(queue, handler, self.tracing)

        async def on_message(message: AbstractIncomingMessage) -> None:
            await self._consume(message, traced, queue)

        self._consuming(queue)
        consume(self.broker, queue, on_message, prefetch=prefetch)

    def subscribe_batches(
        self,
        queue: str,
        handler: BatchHandler,
        *,
        size: int = BATCH_SIZE,
        linger_ms: float = LINGER_MS,
        urgent: Urgency = never,
    ) -> None:
        """Consume a work queue in batches, `batches.AT_ONCE` at a time. Call before `start()`.

        What the handler answers to a message, or raises for all of them, is as with `subscribe`. A batch goes
        on when the connection is lost meanwhile: its messages come again, and must be known then.
        """
        self._consuming(queue)
        self._batches.append(
            BatchConsumer(
                queue,
                traced_batches(queue, handler, self.tracing),
                realm=self.realm,
                size=size,
                linger_ms=linger_ms,
                urgent=urgent,
                meters=self.meters,
            )
        )

    def on_broadcast(self, exchange: str, handler: Handler) -> None:
        """Receive all that is told to every instance on an exchange (`control`, `keys`) from now on.

        What is told while this instance is not connected, it never hears. Call before `start()`.
        """
        self._own.on_broadcast(exchange, handler)

    def on_reply(self, handler: Callable[[Delivery], None]) -> None:
        """Receive, in order, everything sent to `reply_to` that is not the answer to an RPC."""
        self._on_reply = handler

    async def hears(self, exchange: str) -> bool:
        """Say whether this instance is told what is told on an exchange. Raises BusUnavailableError."""
        return await self.consumers(self._own.name_of(exchange)) > 0

    async def consumers(self, queue: str) -> int:
        """Return how many consumers a queue has. Raises BusUnavailableError."""
        return (await self._declared(queue)).consumer_count or 0

    async def waiting(self, queue: str) -> int:
        """Return how many messages of a queue nobody has yet. Raises BusUnavailableError."""
        return (await self._declared(queue)).message_count or 0

    # -- inside -------------------------------------------------------------------------------------------

    def _consuming(self, queue: str) -> None:
        self._queues.append(queue)
        self.meters.consuming(queue)

    async def _declared(self, queue: str) -> Queue.DeclareOk:
        """Ask for a queue's state without changing it."""
        if not self.connected or self._connection is None:
            raise bus_unavailable()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await look_at(self._connection, queue)
        except ChannelNotFoundEntity:
            raise QueueMissingError from None
        except AWAY:
            raise bus_unavailable() from None

    async def _connect(self) -> AbstractRobustConnection:
        while True:
            try:
                return await self.broker.connect()
            except (AMQPError, OSError) as error:
                reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
                get_logger().warning("waiting for rabbitmq", reason=type(reason).__name__)
                await asyncio.sleep(RECONNECT_S)

    def _lost(self, *_: object) -> None:
        """aio-pika calls it again for each attempt that fails."""
        if not (self._stopping or self._away):
            get_logger().warning("rabbitmq connection lost")
        self._away = True
        self._own.name_anew()
        self.rpc.fail_pending(bus_unavailable)
        for callback in self.on_lost:
            callback()

    def _back(self, *_: object) -> None:
        get_logger().info("rabbitmq is connected again")
        self._away = False

    async def _consume(self, message: AbstractIncomingMessage, handler: Handler, queue: str) -> None:
        verdict: Exception | None = None
        try:
            await handler(Delivery.of(message, self.realm))
        except Exception as error:  # noqa: BLE001 - whatever it was, the message is not lost
            verdict = error
        await acknowledge(message, verdict, queue=queue, meters=self.meters)

    def _replied(self, delivery: Delivery) -> None:
        if delivery.correlation_id is not None:
            self.rpc.on_reply(delivery)
        elif self._on_reply is not None:
            self._on_reply(delivery)
