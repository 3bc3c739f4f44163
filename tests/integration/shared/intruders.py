"""A service that was taken over: its own login at the broker, and every trick that login allows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange

from shared.contracts.message import CONTENT_TYPE, Envelope, Message
from shared.contracts.rpc import RpcReply
from tests.envelopes import event_body
from tests.realm import TestRealm

ADMIN = "admin"


@dataclass(frozen=True)
class Intruder:
    """`who`: a service, or the realm's administrator."""

    who: str
    user: str
    _connection: AbstractConnection

    async def channel(self) -> AbstractChannel:
        return await self._connection.channel()

    def own(self) -> str:
        """Return a name that this login may give to queues and exchanges."""
        return f"reply.{'inference' if self.who == ADMIN else self.who}.{token_hex(4)}"

    def message(
        self,
        message: Message,
        *,
        claims: bool = True,
        reply_to: str | None = None,
        answers: str | None = None,
    ) -> aio_pika.Message:
        """As if it were the real thing. `claims`: with a user id, which the broker checks; else none."""
        return aio_pika.Message(
            event_body(message, source="forged"),
            content_type=CONTENT_TYPE,
            type=message.event_type(),
            user_id=self.user if claims else None,
            reply_to=reply_to,
            correlation_id=answers or token_hex(8),
        )

    async def publish(self, exchange: str, key: str, message: aio_pika.Message) -> None:
        target = await (await self.channel()).get_exchange(exchange, ensure=False)
        await target.publish(message, key, mandatory=False)

    async def by_alternate_exchange(self, exchange: str, key: str, message: aio_pika.Message) -> None:
        """An exchange of its own without bindings hands all on, whatever the topic permissions say."""
        own = await self._exchange({"alternate-exchange": exchange})
        await own.publish(message, key, mandatory=False)

    async def by_dead_letters(self, exchange: str, key: str, message: aio_pika.Message) -> None:
        """A queue of its own lets messages die into the exchange at once."""
        own, channel = await self._exchange({}), await self.channel()
        arguments: Any = {
            "x-message-ttl": 0,
            "x-dead-letter-exchange": exchange,
            "x-dead-letter-routing-key": key,
        }
        queue = await channel.declare_queue(self.own(), exclusive=True, arguments=arguments)
        await queue.bind(own, "#")
        await own.publish(message, key)

    async def listen(self) -> "Ear":
        """Begin to hear replies at an address of its own."""
        name = self.own()
        queue = await (await self.channel()).declare_queue(name, exclusive=True)
        await queue.bind("replies", name)
        return Ear(name, queue)

    async def _exchange(self, arguments: Any) -> AbstractExchange:
        channel = await self.channel()
        return await channel.declare_exchange(self.own(), "topic", auto_delete=False, arguments=arguments)


@dataclass(frozen=True)
class Ear:
    """An address for replies."""

    name: str
    _queue: aio_pika.abc.AbstractQueue

    async def reply(self) -> RpcReply:
        async with asyncio.timeout(10):
            while (message := await self._queue.get(fail=False, no_ack=True)) is None:
                await asyncio.sleep(0.02)
        return RpcReply.model_validate(Envelope.decode(message.body).data)


@asynccontextmanager
async def intruding(realm: TestRealm, who: str) -> AsyncIterator[Intruder]:
    env = realm.admin if who == ADMIN else realm.env(who)
    async with await aio_pika.connect(env["LATCHKEY_AMQP_URL"]) as connection:
        yield Intruder(who, f"{realm.name}_{who}", connection)
