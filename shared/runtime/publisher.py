"""Publishing: messages into CloudEvents into AMQP, over a confirmed and a fast channel of one connection."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Protocol, cast
from uuid import UUID

from aio_pika import DeliveryMode
from aio_pika.abc import AbstractRobustConnection
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError
from aiormq import Channel
from opentelemetry.trace import SpanKind
from pamqp.commands import Basic
from pamqp.common import FieldValue

from shared.contracts.message import CONTENT_TYPE, MESSAGE_BYTES_MAX, Message, event_type, write
from shared.kernel.errors import BusUnavailableError, InvalidRequestError, NotSentError
from shared.runtime.batcher import Batcher
from shared.runtime.blocking import Blocking
from shared.runtime.logs import get_logger
from shared.runtime.pipelining import Parcel, publish_in_one_piece, send_on
from shared.runtime.streams import Streams
from shared.runtime.tracing import OFF, TRACEPARENT, Tracing, messaging, run_attributes

AWAY = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError, RuntimeError)
"""What aio-pika raises when the broker is away, slow, or refuses."""

TIMEOUT_S = 5.0
_ALONE_BYTES = 64 * 1024
_PERSISTENT, _TRANSIENT = DeliveryMode.PERSISTENT.value, DeliveryMode.NOT_PERSISTENT.value


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

    def __init__(self, *, service: str, user: str, tracing: Tracing = OFF) -> None:
        self._service = service
        self._tracing = tracing
        self._user = user
        self._connection: AbstractRobustConnection | None = None
        self._batchers: dict[str, Batcher[Parcel, None]] = {}

    async def open(self, connection: AbstractRobustConnection) -> None:
        """Until it returns, nothing can be published."""
        self._confirmed = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._fast = await connection.channel(publisher_confirms=False)
        self._streams = Streams(connection)
        self._blocking = Blocking(connection)
        self._connection = connection

    @property
    def connected(self) -> bool:
        """Whether there is a broker, and it takes what is published."""
        return self._is_there and not self._blocking.is_blocked

    @property
    def _is_there(self) -> bool:
        return self._connection is not None and self._connection.connected.is_set()

    async def publish(self, message: Message, *, event_id: str | None, subject: str | None) -> None:
        """Persistent, mandatory, confirmed.

        Raises NotSentError, BusUnavailableError, or InvalidRequestError for more than a message may hold.
        """
        if not self._tracing.is_on:
            await self._publish(message, event_id, subject)
            return
        with self._tracing.span(f"publish {message.EXCHANGE}", SpanKind.PRODUCER, _attributes(message)):
            await self._publish(message, event_id, subject)

    async def _publish(self, message: Message, event_id: str | None, subject: str | None) -> None:
        await self._check_reaches_all(message.EXCHANGE)
        identity, body = _written(message, self._service, event_id, subject)
        properties = self._properties(identity, message.ROUTING_KEY, persistent=True)
        properties.headers = self._headers()
        await self._confirm(message.EXCHANGE, Parcel(message.ROUTING_KEY, properties, body))

    async def publish_all(self, exchange: str, events: Sequence[Written]) -> list[UUID]:
        """As `publish`, many at once: all are sent before the first confirm is waited for.

        Return the ids of those that were confirmed. Raises BusUnavailableError when not connected.
        """
        await self._check_reaches_all(exchange)
        parcels = [self._parcel(event) for event in events]
        failures = await self._publish_parcels(exchange, parcels)
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
        """Transient and unconfirmed, in order with all else sent so. Raises as `publish` does.

        What has a `ttl_s` asks for something, and carries its trace on. What has none is heard with the rest
        of its run once a broker that takes nothing is well again.
        """
        if not (self._is_there if ttl_s is None else self.connected):
            raise _not_sent()
        identity, body = _written(message, self._service)
        properties = self._properties(identity, message.ROUTING_KEY, persistent=False)
        properties.correlation_id, properties.reply_to = correlation_id, reply_to
        if ttl_s is not None:
            properties.expiration = str(int(ttl_s * 1000))
            properties.headers = self._headers()
        parcel = Parcel(key or message.ROUTING_KEY, properties, body)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                channel = cast("Channel", await self._fast.get_underlay_channel())
                await send_on(channel, message.EXCHANGE, parcel)
        except AWAY as error:
            _report(message.EXCHANGE, [error])
            raise bus_unavailable() from None

    async def _confirm(self, exchange: str, parcel: Parcel) -> None:
        """Send and wait for the confirm, with others unless it is large. Raises BusUnavailableError."""
        if len(parcel.body) > _ALONE_BYTES:
            if any(await self._publish_parcels(exchange, [parcel])):
                raise bus_unavailable()
            return
        try:
            async with asyncio.timeout(TIMEOUT_S) as limit:
                await self._batcher(exchange).submit(parcel)
        except AWAY as error:
            if limit.expired():  # else its batch has said so
                _report(exchange, [error])
            raise bus_unavailable() from None

    def _batcher(self, exchange: str) -> Batcher[Parcel, None]:
        if exchange not in self._batchers:
            self._batchers[exchange] = Batcher(partial(self._publish_parcels, exchange))
        return self._batchers[exchange]

    async def _publish_parcels(self, exchange: str, parcels: Sequence[Parcel]) -> list[Exception | None]:
        """Return why each was not confirmed. Raises BusUnavailableError when not connected."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                channel = cast("Channel", await self._confirmed.get_underlay_channel())
            failures = await publish_in_one_piece(channel, exchange, parcels, timeout_s=TIMEOUT_S)
        except AWAY as error:
            _report(exchange, [error])
            raise bus_unavailable() from None
        _report(exchange, failures)
        return failures

    async def _check_reaches_all(self, exchange: str) -> None:
        """Raise NotSentError while a queue could be passed over."""
        if not self.connected:
            raise _not_sent()
        try:
            await self._streams.wait_for(exchange)
        except AWAY as error:
            get_logger().warning("streams are missing", exchange=exchange, reason=type(error).__name__)
            raise _not_sent() from None

    def _headers(self) -> dict[str, FieldValue] | None:
        traceparent = self._tracing.traceparent()
        return None if traceparent is None else {TRACEPARENT: traceparent}

    def _parcel(self, event: Written) -> Parcel:
        properties = self._properties(str(event.event_id), event.routing_key, persistent=True)
        return Parcel(event.routing_key, properties, event.body.encode())

    def _properties(self, identity: str, routing_key: str, *, persistent: bool) -> Basic.Properties:
        return Basic.Properties(
            content_type=CONTENT_TYPE,
            delivery_mode=_PERSISTENT if persistent else _TRANSIENT,
            message_id=identity,
            message_type=event_type(routing_key),
            user_id=self._user,
        )


def _written(
    message: Message, source: str, event_id: str | None = None, subject: str | None = None
) -> tuple[str, bytes]:
    identity, body = write(message, source=source, event_id=event_id, subject=subject)
    if len(body) > MESSAGE_BYTES_MAX:
        raise InvalidRequestError("this is too long for one message")
    return identity, body


def _attributes(message: Message) -> dict[str, str]:
    where = f"{message.EXCHANGE}:{message.ROUTING_KEY}"
    key = {"messaging.rabbitmq.destination.routing_key": message.ROUTING_KEY}
    return messaging("publish", "send", where) | key | run_attributes(message)


def _report(exchange: str, failures: Sequence[Exception | None]) -> None:
    """Log how many were not confirmed, and why the first one was not."""
    reasons = [type(failure).__name__ for failure in failures if failure is not None]
    if reasons:
        get_logger().warning("publish failed", exchange=exchange, events=len(reasons), reason=reasons[0])


def bus_unavailable() -> BusUnavailableError:
    return BusUnavailableError(service="rabbitmq", retry_after_s=2)


def _not_sent() -> NotSentError:
    return NotSentError(service="rabbitmq", retry_after_s=2)
