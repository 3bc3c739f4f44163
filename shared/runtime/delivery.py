"""A message as it arrives, with what the broker itself vouches for."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeAlias, TypeVar

from aio_pika.abc import AbstractIncomingMessage
from aiormq.abc import DeliveredMessage

from shared.contracts.message import Envelope, Message, read
from shared.kernel.errors import ForbiddenError, InvalidRequestError
from shared.runtime.tracing import TRACEPARENT

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True)
class Delivery:
    """`sender` is the publishing service, as RabbitMQ validated it (`user_id`); empty when it did not.

    `ttl_s`: for how long somebody waits for what it asks; None when nobody said.
    """

    body: bytes
    sender: str
    redelivered: bool = False
    reply_to: str | None = None
    correlation_id: str | None = None
    ttl_s: float | None = None
    traceparent: str | None = None
    """The trace that it belongs to (W3C)."""

    @classmethod
    def of(cls, message: AbstractIncomingMessage, realm: str) -> Self:
        ttl_s = message.expiration
        return cls(
            body=message.body,
            sender=_sender(message.user_id, realm),
            redelivered=bool(message.redelivered),
            reply_to=message.reply_to,
            correlation_id=message.correlation_id,
            ttl_s=ttl_s if isinstance(ttl_s, int | float) else None,
            traceparent=_traceparent(message.headers),
        )

    @classmethod
    def told(cls, message: DeliveredMessage, realm: str) -> Self:
        """As `of`, of an event or an answer, as aiormq hands it over: nobody waits for what comes of it."""
        properties = message.header.properties
        return cls(
            body=message.body,
            sender=_sender(properties.user_id, realm),
            redelivered=bool(message.redelivered),
            correlation_id=properties.correlation_id,
            traceparent=_traceparent(properties.headers),
        )

    @cached_property
    def envelope(self) -> Envelope:
        """Raise InvalidRequestError, without the body, for what is not a CloudEvent."""
        return Envelope.decode(self.body)

    def read(self, model: type[MessageT], *, senders: tuple[str, ...]) -> MessageT:
        """Raise ForbiddenError when it was not one of `senders`, InvalidRequestError when it is malformed."""
        self.check_sender(model.event_type(), senders)
        return read(self.envelope, model)

    def read_or_refusal(
        self, model: type[MessageT], *, senders: tuple[str, ...]
    ) -> MessageT | InvalidRequestError | ForbiddenError:
        """As `read`, in a batch: return what that raises."""
        try:
            return self.read(model, senders=senders)
        except (InvalidRequestError, ForbiddenError) as refusal:
            return refusal

    def check_sender(self, what: str, senders: tuple[str, ...]) -> None:
        """Raise ForbiddenError when it was not one of `senders`, whatever it is."""
        if self.sender not in senders:
            raise ForbiddenError(f"{what} may not come from {self.sender or 'an unknown sender'}")


Handler: TypeAlias = Callable[[Delivery], Awaitable[None]]


def _sender(user: str | None, realm: str) -> str:
    prefix = f"{realm}_"
    return user.removeprefix(prefix) if user is not None and user.startswith(prefix) else ""


def _traceparent(headers: Mapping[str, object] | None) -> str | None:
    value = headers.get(TRACEPARENT) if headers else None
    return value if isinstance(value, str) else None
