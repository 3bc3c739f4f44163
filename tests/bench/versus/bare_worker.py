"""The bare pipeline's worker: `python -m tests.bench.versus.bare_worker AMQP_URL PROVIDER_URL KEY`."""

import asyncio
import sys
from collections.abc import AsyncIterable
from typing import Any, Final

import aio_pika
import orjson
import uvloop
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from openai import AsyncOpenAI

QUEUE: Final = "bare.runs"
LAST: Final = "last"
"""The type of the message after which there is no other for a run."""
_USAGE: Final = "bare.usage"
_AT_ONCE: Final = 64
_PERSISTENT: Final = aio_pika.DeliveryMode.PERSISTENT


async def declared(channel: AbstractChannel) -> AbstractQueue:
    """The queue of runs; that of usage events, which nobody reads, keeps a thousand."""
    bounded: dict[str, Any] = {"x-queue-type": "quorum", "x-max-length": 1000}
    await channel.declare_queue(_USAGE, durable=True, arguments=bounded)
    return await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})


class Worker:
    def __init__(self, channel: AbstractChannel, provider: AsyncOpenAI) -> None:
        self._exchange = channel.default_exchange
        self._provider = provider

    async def on_run(self, run: AbstractIncomingMessage) -> None:
        question = orjson.loads(run.body)
        answer = await self._provider.chat.completions.create(**question)
        usage = await (self._relay(run, answer) if question.get("stream") else self._reply(run, answer))
        told = orjson.dumps({"run": run.correlation_id, "usage": usage.model_dump()})
        await self._exchange.publish(aio_pika.Message(told, delivery_mode=_PERSISTENT), _USAGE)
        await run.ack()

    async def _reply(self, run: AbstractIncomingMessage, answer: Any) -> Any:
        await self._tell(run, answer.model_dump_json(exclude_unset=True), LAST)
        return answer.usage

    async def _relay(self, run: AbstractIncomingMessage, chunks: AsyncIterable[Any]) -> Any:
        usage = None
        async for chunk in chunks:
            usage = chunk.usage
            await self._tell(run, f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n")
        await self._tell(run, "data: [DONE]\n\n", LAST)
        return usage

    async def _tell(self, run: AbstractIncomingMessage, text: str, kind: str | None = None) -> None:
        message = aio_pika.Message(text.encode(), correlation_id=run.correlation_id, type=kind)
        await self._exchange.publish(message, str(run.reply_to))


async def _serve(amqp_url: str, provider_url: str, key: str) -> None:
    provider = AsyncOpenAI(base_url=provider_url, api_key=key, max_retries=0)
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=_AT_ONCE)
        queue = await declared(channel)
        await queue.consume(Worker(channel, provider).on_run)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(*sys.argv[1:]))
