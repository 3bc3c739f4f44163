"""Dead letters: what a service refused, or failed at again and again. They wait until somebody decides.

Bodies are never looked at: they may hold prompts.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from infra.broker_link import ANSWER_S, as_os_errors, connected
from shared.contracts.topology import dead_letters

_DEATHS: Final = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count")


class Fate(StrEnum):
    WAIT = "wait"
    REQUEUE = "requeue"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`id`: the message's, which the log line that refused it names; None when it has none.

    `sender`: the broker-validated user who published it; None when it was published without. `reason`:
    RabbitMQ's word (`rejected`, `delivery_limit`, `expired`, `maxlen`); None when it did not come by dying.
    """

    queue: str
    died_at: datetime | None
    reason: str | None
    routing_key: str | None
    sender: str | None
    id: str | None

    @classmethod
    def of(cls, queue: str, properties: Basic.Properties) -> Self:
        died = _last_death(properties.headers)
        return cls(
            queue=queue,
            died_at=died.get("time"),
            reason=died.get("reason"),
            routing_key=next(iter(died.get("routing-keys") or ()), None),
            sender=properties.user_id,
            id=properties.message_id,
        )


async def settle(
    amqp_url: str, queue: str, fate: Fate, ids: Collection[str] = ()
) -> AsyncGenerator[DeadLetter, None]:
    """Yield the dead letters of a work queue that are there now, as they are settled; with `ids` only those.

    One that is put back leaves here when its queue has it: a crash in between leaves it in both, and services
    take nothing for more than once. What waits keeps its place. Needs the realm's administrator. Raises
    OSError when the broker is lost, or refuses.
    """
    with as_os_errors():
        async with _reading(amqp_url) as channel:
            for _ in range(await _count(channel, queue)):
                message = await channel.basic_get(dead_letters(queue), timeout=ANSWER_S)
                if isinstance(message.delivery, Basic.GetEmpty):
                    return
                letter = DeadLetter.of(queue, message.header.properties)
                if not ids or letter.id in ids:
                    await _settle(channel, queue, message, fate)
                    yield letter
            await channel.basic_nack(0, multiple=True)
            await _count(channel, queue)  # answers when they are there again


@asynccontextmanager
async def _reading(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """A channel. What was read there and not acknowledged goes back when it ends."""
    async with connected(amqp_url) as connection:
        yield await connection.channel()


async def _count(channel: AbstractChannel, queue: str) -> int:
    declared = await channel.queue_declare(dead_letters(queue), passive=True, timeout=ANSWER_S)
    return declared.message_count or 0


async def _settle(channel: AbstractChannel, queue: str, message: DeliveredMessage, fate: Fate) -> None:
    if fate is Fate.REQUEUE:
        await channel.basic_publish(
            message.body,
            routing_key=queue,
            properties=_alive(message.header.properties),
            mandatory=True,
            timeout=ANSWER_S,
        )
    if fate is not Fate.WAIT:
        await channel.basic_ack(message.delivery_tag or 0)


def _alive(properties: Basic.Properties) -> Basic.Properties:
    headers = properties.headers or {}
    properties.headers = {name: value for name, value in headers.items() if not name.startswith(_DEATHS)}
    return properties


def _last_death(headers: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """RabbitMQ puts it first (https://www.rabbitmq.com/docs/dlx#effects)."""
    deaths = (headers or {}).get("x-death")
    return deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
