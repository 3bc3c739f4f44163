"""The bare pipeline's edge: `python -m tests.bench.versus.bare_edge AMQP_URL PORT`."""

import asyncio
import sys
from typing import Any
from uuid import uuid4

import aio_pika
import uvicorn
from aio_pika.abc import AbstractIncomingMessage

from tests.bench.versus.bare_worker import LAST, QUEUE, declared


class Edge:
    """An ASGI application: a body goes out as it came, and so do the answers to it."""

    def __init__(self, amqp_url: str) -> None:
        self._amqp_url = amqp_url
        self._waiting: dict[str | None, asyncio.Queue[AbstractIncomingMessage]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._answer(await _body(receive), send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        async with await aio_pika.connect(self._amqp_url) as connection:
            self._channel = await connection.channel()
            await declared(self._channel)
            self._replies = await self._channel.declare_queue(exclusive=True)
            await self._replies.consume(self._arrived, no_ack=True)
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _arrived(self, message: AbstractIncomingMessage) -> None:
        self._waiting[message.correlation_id].put_nowait(message)

    async def _answer(self, body: bytes, send: Any) -> None:
        run = str(uuid4())
        answers = self._waiting[run] = asyncio.Queue()
        where: Any = {"correlation_id": run, "reply_to": self._replies.name}
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **where)
        await self._channel.default_exchange.publish(message, QUEUE)
        kind = b"text/event-stream" if b'"stream":true' in body else b"application/json"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        is_more = True
        while is_more:
            answer = await answers.get()
            is_more = answer.type != LAST
            await send({"type": "http.response.body", "body": answer.body, "more_body": is_more})
        del self._waiting[run]


async def _body(receive: Any) -> bytes:
    body, is_more = b"", True
    while is_more:
        message = await receive()
        body, is_more = body + message["body"], message["more_body"]
    return body


if __name__ == "__main__":
    uvicorn.run(Edge(sys.argv[1]), port=int(sys.argv[2]), loop="uvloop", http="httptools", access_log=False)
