"""Publishing: messages into CloudEvents into AMQP, over a confirmed and a fast channel of one connection."""

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractRobustConnection
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

from shared.contracts.message import CONTENT_TYPE, Envelope, Message
from shared.kernel.errors import BusUnavailableError
from shared.runtime.logs import get_logger

AWAY = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError, RuntimeError)
"""What aio-pika raises when the broker is away, slow, or refuses."""

TIMEOUT_S = 5.0


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

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.connected.is_set()

    async def publish(self, message: Message, *, event_id: str | None, subject: str | None) -> None:
        """Persistent, mandatory, confirmed. Raises BusUnavailableError."""
        self._check_connected()
        envelope = Envelope.wrap(message, source=self._service, event_id=event_id, subject=subject)
        amqp = self._amqp(envelope)
        amqp.delivery_mode = aio_pika.DeliveryMode.PERSISTENT
        await _send(self._confirmed, message.EXCHANGE, message.ROUTING_KEY, amqp, mandatory=True)

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

    def _check_connected(self) -> None:
        if not self.connected:
            raise bus_unavailable()

    def _amqp(self, envelope: Envelope) -> aio_pika.Message:
        return aio_pika.Message(
            envelope.encode(),
            content_type=CONTENT_TYPE,
            message_id=envelope.id,
            type=envelope.type,
            user_id=self._user,
        )


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
