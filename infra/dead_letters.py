"""Dead letters: what a service refused, or failed at again and again. They wait until somebody decides.

Bodies are never looked at: they may hold prompts.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self
from urllib.parse import urlsplit

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from infra.bootstrap.http import Api, client
from infra.broker_link import ANSWER_S, as_os_errors, connected
from shared.contracts.topology import dead_letters

_LOOKS_MAX: Final = 100
_PAUSE_S: Final = 0.02


class Fate(StrEnum):
    WAIT = "wait"
    REQUEUE = "requeue"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`id`: the message's, which the log line that refused it names; None when it has none.

    `sender`: the broker-validated user who published it; None when it was published without. `reason`:
    RabbitMQ's word (`rejected`, `delivery_limit`, `expired`, `maxlen`); None when it did not come by dying.
    `died_at`: for the first time, when it was put back since.
    """

    queue: str
    died_at: datetime | None
    reason: str | None
    routing_key: str | None
    sender: str | None
    id: str | None

    @classmethod
    def of(cls, queue: str, properties: Basic.Properties) -> Self:
        death = _death(queue, properties.headers)
        return cls(
            queue=queue,
            died_at=death.get("time"),
            reason=death.get("reason"),
            routing_key=next(iter(death.get("routing-keys") or ()), None),
            sender=properties.user_id,
            id=properties.message_id,
        )


def is_taken_back(management_url: str, amqp_url: str, queue: str) -> bool:
    """Say whether the broker takes what is rejected of a queue's dead letters back to it, as a policy says.

    Without it what is put back is lost. Raises BootstrapError when the broker does not answer.
    """
    realm = urlsplit(amqp_url).path.removeprefix("/")
    with client(management_url) as http:
        policies = Api("rabbitmq", http).call("GET", f"/api/policies/{realm}")
    ours = [each for each in policies if _is_for(each, dead_letters(queue))]
    first = max((each["priority"] for each in ours), default=0)
    way = {
        "dead-letter-exchange": "",
        "dead-letter-routing-key": queue,
        "dead-letter-strategy": "at-least-once",
    }
    holding = [each["definition"] for each in ours if each["priority"] == first]
    return bool(holding) and all(way.items() <= definition.items() for definition in holding)


async def settle(
    amqp_url: str, queue: str, fate: Fate, ids: Collection[str] = ()
) -> AsyncGenerator[DeadLetter, None]:
    """Yield the dead letters of a work queue that are there now, as they are settled; with `ids` only those.

    The broker puts one back as it was published, in its sender's name, which nobody else could, and keeps it
    until its queue has it; `is_taken_back` says whether it can. What waits keeps its place. Needs the realm's
    administrator. Raises OSError when the broker is lost, or refuses.
    """
    with as_os_errors():
        async with _reading(amqp_url) as channel:
            held = 0
            for _ in range(await _count(channel, queue)):
                message = await channel.basic_get(dead_letters(queue), timeout=ANSWER_S)
                if isinstance(message.delivery, Basic.GetEmpty):
                    return
                letter = DeadLetter.of(queue, message.header.properties)
                is_meant = not ids or letter.id in ids
                held += not is_meant or fate is Fate.WAIT
                if is_meant:
                    await _settle(channel, message, fate)
                    yield letter
            await channel.basic_nack(0, multiple=True)
            await _until_back(channel, queue, held)


def _is_for(policy: Mapping[str, Any], queue: str) -> bool:
    return policy["apply-to"] != "exchanges" and re.search(policy["pattern"], queue) is not None


@asynccontextmanager
async def _reading(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """A channel. What was read there and not acknowledged goes back when it ends."""
    async with connected(amqp_url) as connection:
        yield await connection.channel()


async def _count(channel: AbstractChannel, queue: str) -> int:
    declared = await channel.queue_declare(dead_letters(queue), passive=True, timeout=ANSWER_S)
    return declared.message_count or 0


async def _until_back(channel: AbstractChannel, queue: str, count: int) -> None:
    """Wait until what was held is there for others again; a while, for somebody else may have taken it."""
    for _ in range(_LOOKS_MAX):
        if await _count(channel, queue) >= count:
            return
        await asyncio.sleep(_PAUSE_S)


async def _settle(channel: AbstractChannel, message: DeliveredMessage, fate: Fate) -> None:
    tag = message.delivery_tag or 0
    if fate is Fate.REQUEUE:
        await channel.basic_reject(tag, requeue=False)  # by its policy it goes where it came from
    elif fate is Fate.DISCARD:
        await channel.basic_ack(tag)


def _death(queue: str, headers: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return what the broker wrote of its first death in this queue (https://www.rabbitmq.com/docs/dlx#effects)."""
    deaths = (headers or {}).get("x-death")
    told = deaths if isinstance(deaths, list) else []
    return next((death for death in told if isinstance(death, dict) and death.get("queue") == queue), {})
