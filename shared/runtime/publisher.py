"""Publishing: messages into CloudEvents into AMQP, over a confirmed and a fast channel of one connection."""

from collections.abc import Sequence
from typing import Protocol, cast
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractRobustConnection
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError
from aiormq import Channel
from pamqp.commands import Basic

from shared.contracts.message import CONTENT_TYPE, Envelope, Message, event_type
from shared.kernel.errors import BusUnavailableError
from shared.runtime.logs import get_logger
from shared.runtime.pipelining import Parcel, publish_in_one_piece
from shared.runtime.streams import Streams

AWAY = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError, RuntimeError)
"""What aio-pika raises when the broker is away, slow, or refuses."""

TIMEOUT_S = 5.0


class Written(Protocol):
    """An event as its publisher keeps it: a whole CloudEvent as JSON text, under its own id."""

    @property
    def event_id(self) -> UUID: ...
    @property
    def routing_key(self) -> str: ...
    @property
    def body(self) -> str: ...


class Publisher:
    """`user` is the connection's own: RabbitMQ checks that what we claim (`user_id`) is true."""

    def __init__(self, *, service: str, user: str) -> None:
        self._service = service
        self._user = user
        self._connection: AbstractRobustConnection | None = None

    async def open(self, connection: AbstractRobustConnection) -> None:
        self._connection = connection
        self._confirmed = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._fast = await connection.channel(publisher_confirms=False)
        self._streams = Streams(connection)

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.connected.is_set()

    async def publish(self, message: Message, *, event_id: str | None, subject: str | None) -> None:
        """Persistent, mandatory, confirmed. Raises BusUnavailableError."""
        await self._check_reaches_all(message.EXCHANGE)
        envelope = Envelope.wrap(message, source=self._service, event_id=event_id, subject=subject)
        amqp = self._amqp(envelope)
        amqp.delivery_mode = aio_pika.DeliveryMode.PERSISTENT
        await _send(self._confirmed, message.EXCHANGE, message.ROUTING_KEY, amqp, mandatory=True)

    async def publish_all(self, exchange: str, events: Sequence[Written]) -> list[UUID]:
        """As `publish`, many at once: all are sent before the first confirm is waited for.

        Return the ids of those that were confirmed. Raises BusUnavailableError when not connected.
        """
        await self._check_reaches_all(exchange)
        parcels = [self._parcel(event) for event in events]
        try:
            channel = cast("Channel", await self._confirmed.get_underlay_channel())
            failures = await publish_in_one_piece(channel, exchange, parcels, timeout_s=TIMEOUT_S)
        except AWAY:
            raise bus_unavailable() from None
        _report(exchange, failures)
        return [event.event_id for event, failure in zip(events, failures, strict=True) if failure is None]

    async def send(
        self,
        message: Message,
        *,
        key: str | None = None,
        correlation_id: str | None = None,
        reply_to: str | None = None,
        ttl_s: float | None = None,
    ) -> None:
        """Transient and unconfirmed, in order with all else sent so. Raises BusUnavailableError."""
        self._check_connected()
        amqp = self._amqp(Envelope.wrap(message, source=self._service))
        amqp.correlation_id, amqp.reply_to, amqp.expiration = correlation_id, reply_to, ttl_s
        await _send(self._fast, message.EXCHANGE, key or message.ROUTING_KEY, amqp)

    async def _check_reaches_all(self, exchange: str) -> None:
        """Raise BusUnavailableError while a queue could be passed over."""
        self._check_connected()
        try:
            await self._streams.wait_for(exchange)
        except AWAY as error:
            get_logger().warning("streams are missing", exchange=exchange, reason=type(error).__name__)
            raise bus_unavailable() from None

    def _check_connected(self) -> None:
        if not self.connected:
            raise bus_unavailable()

    def _parcel(self, event: Written) -> Parcel:
        properties = Basic.Properties(
            content_type=CONTENT_TYPE,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=str(event.event_id),
            message_type=event_type(event.routing_key),
            user_id=self._user,
        )
        return Parcel(event.routing_key, properties, event.body.encode())

    def _amqp(self, envelope: Envelope) -> aio_pika.Message:
        return aio_pika.Message(
            envelope.encode(),
            content_type=CONTENT_TYPE,
            message_id=envelope.id,
            type=envelope.type,
            user_id=self._user,
        )


def _report(exchange: str, failures: Sequence[BaseException | None]) -> None:
    """Log how many were not confirmed, and why the first one was not."""
    reasons = [type(failure).__name__ for failure in failures if failure is not None]
    if reasons:
        get_logger().warning("publish failed", exchange=exchange, events=len(reasons), reason=reasons[0])


async def _send(
    channel: AbstractChannel, exchange: str, key: str, message: aio_pika.Message, *, mandatory: bool = False
) -> None:
    try:
        target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(message, key, mandatory=mandatory, timeout=TIMEOUT_S)
    except AWAY as error:
        get_logger().warning("publish failed", exchange=exchange, key=key, reason=type(error).__name__)
        raise bus_unavailable() from None


def bus_unavailable() -> BusUnavailableError:
    return BusUnavailableError(service="rabbitmq", retry_after_s=2)
