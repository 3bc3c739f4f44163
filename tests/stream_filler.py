"""Puts many events into the usage stream, as their services would, but fast: whole frames, no confirms."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, ChannelFrame
from pamqp import commands, frame, header
from pamqp.body import ContentBody

from infra.event_stream import EventStream
from shared.contracts.message import CONTENT_TYPE, Message
from shared.kernel.names import BILLING, INFERENCE
from tests.envelopes import event_body
from tests.realm import TestRealm

_AT_ONCE: Final = 500
_PATIENCE_S: Final = 60.0


@dataclass(frozen=True)
class Told:
    """A body and the routing key it travels with."""

    key: str
    body: bytes


def told(message: Message, *, event_id: str | None = None) -> Told:
    sender = INFERENCE if message.ROUTING_KEY.startswith("usage.") else BILLING
    return Told(message.ROUTING_KEY, event_body(message, source=sender, event_id=event_id))


async def fill(realm: TestRealm, sender: str, messages: Iterable[Told]) -> None:
    """Publish as `sender` to the exchange `usage`; return when all of it is in the stream."""
    stream = EventStream(realm.admin["LATCHKEY_ANALYST_AMQP_URL"])
    wanted = await stream.end()
    connection = await aiormq.connect(realm.env(sender)["LATCHKEY_AMQP_URL"])
    channel = await connection.channel(publisher_confirms=False)
    batch: list[Told] = []
    for message in messages:
        batch.append(message)
        wanted += 1
        if len(batch) == _AT_ONCE:
            await _send(connection, channel, f"{realm.name}_{sender}", batch)
            batch = []
    await _send(connection, channel, f"{realm.name}_{sender}", batch)
    async with asyncio.timeout(_PATIENCE_S):
        while await stream.end() < wanted:
            await asyncio.sleep(0.1)
    await connection.close()


async def _send(
    connection: AbstractConnection, channel: AbstractChannel, login: str, batch: Sequence[Told]
) -> None:
    number = channel.number
    payload = b"".join(
        _head(number, login, message.key, len(message.body))
        + frame.marshal(ContentBody(message.body), number)
        for message in batch
    )
    sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await connection.write_queue.put(ChannelFrame(payload, should_close=False, drain_future=sent))
    await sent


@lru_cache
def _head(number: int, login: str, key: str, size: int) -> bytes:
    properties = commands.Basic.Properties(content_type=CONTENT_TYPE, delivery_mode=2, user_id=login)
    publish = commands.Basic.Publish(exchange="usage", routing_key=key)
    content = header.ContentHeader(body_size=size, properties=properties)
    return frame.marshal(publish, number) + frame.marshal(content, number)
