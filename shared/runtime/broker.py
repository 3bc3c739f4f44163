"""FastStream, as the bus uses it: one connection, handlers that get whole messages and acknowledge them."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

from aio_pika.abc import AbstractIncomingMessage
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from shared.kernel.secret import SecretText
from shared.runtime.pipelining import let_frames_wait
from shared.runtime.publisher import AWAY, TIMEOUT_S

RECONNECT_S: Final = 1.0
_CONNECT_S: Final = 10.0
_HEARTBEAT_S: Final = 10

OnMessage: TypeAlias = Callable[[AbstractIncomingMessage], Awaitable[None]]


def make_broker(url: SecretText, *, graceful_s: float) -> RabbitBroker:
    let_frames_wait()
    return RabbitBroker(
        _with_heartbeat(url.reveal()),
        logger=None,
        apply_types=False,
        graceful_timeout=graceful_s,
        reconnect_interval=RECONNECT_S,
        timeout=_CONNECT_S,
        decoder=_whole_message,
    )


def consume(broker: RabbitBroker, queue: str, on_message: OnMessage, *, prefetch: int) -> None:
    """Have a queue that is declared already consumed once the broker starts."""
    broker.subscriber(
        RabbitQueue(queue, declare=False),
        channel=Channel(prefetch_count=prefetch),
        ack_policy=AckPolicy.MANUAL,
        no_reply=True,
    )(on_message)


async def stop_consuming(broker: RabbitBroker) -> None:
    """Take no more messages; handlers go on.

    FastStream's own `stop()` first waits for its handlers, and leaves lying what it is sent meanwhile.
    """
    for subscriber in broker.subscribers:
        await _cancel(subscriber)


async def _cancel(subscriber: Any) -> None:
    queue, tag = subscriber._queue_obj, subscriber._consumer_tag  # noqa: SLF001 - it has no other way to say it
    if queue is not None and tag is not None:
        subscriber._consumer_tag = None  # noqa: SLF001
        with suppress(*AWAY):
            await queue.cancel(tag, timeout=TIMEOUT_S)


async def _whole_message(message: object) -> object:
    """FastStream's decoder: hand the handler the AMQP message itself, not a guess at its body."""
    raw: object = message.raw_message  # type: ignore[attr-defined]
    return raw


def _with_heartbeat(url: str) -> str:
    """A frozen broker is noticed after two missed heartbeats, not after the default's two minutes."""
    return f"{url}{'&' if '?' in url else '?'}heartbeat={_HEARTBEAT_S}"
