"""Consuming a work queue in batches: many messages in one piece of work, acknowledged at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol, TypeAlias

from aio_pika.abc import AbstractIncomingMessage, AbstractQueue, AbstractRobustConnection
from aio_pika.exceptions import ChannelInvalidStateError

from shared.runtime.acknowledging import acknowledge, quietly
from shared.runtime.delivery import Delivery
from shared.runtime.publisher import AWAY, TIMEOUT_S
from shared.runtime.rpc import RequestBus

BATCH_SIZE: Final = 500
LINGER_MS: Final = 10.0

Verdicts: TypeAlias = Sequence[Exception | None]
BatchHandler: TypeAlias = Callable[[Sequence[Delivery]], Awaitable[Verdicts]]
"""Returns a verdict for each delivery, in order: None when it is done with, else what a `Handler` raises."""


class BatchBus(RequestBus, Protocol):
    """What a service that answers requests and works in batches needs of the bus."""

    def subscribe_batches(self, queue: str, handler: BatchHandler, /) -> None: ...


class BatchConsumer:
    """Hands over what waits in a queue, one batch at a time; the next one gathers meanwhile.

    A batch is at least one message; then it waits until it has `size` of them, for `linger_ms` at most.
    """

    def __init__(self, queue: str, handler: BatchHandler, *, realm: str, size: int, linger_ms: float) -> None:
        self._name = queue
        self._handler = handler
        self._realm = realm
        self._size = size
        self._linger_s = linger_ms / 1000
        self._waiting: list[AbstractIncomingMessage] = []
        self._some, self._enough = asyncio.Event(), asyncio.Event()
        self._stopping = False
        self._queue: AbstractQueue | None = None
        self._tag = ""
        self._work: asyncio.Task[None] | None = None

    async def start(self, connection: AbstractRobustConnection) -> None:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=2 * self._size)
        # What is declared, if only passively, is consumed again on a new connection.
        self._queue = await channel.declare_queue(self._name, passive=True)
        self._work = asyncio.create_task(self._run())
        self._tag = await self._queue.consume(self._arrived)

    async def stop_consuming(self) -> None:
        queue, self._queue = self._queue, None
        if queue is not None:
            with suppress(*AWAY):
                async with asyncio.timeout(TIMEOUT_S):
                    await queue.cancel(self._tag)
        self._stopping = True
        self._some.set()
        self._enough.set()

    async def finish(self, within_s: float) -> None:
        """Wait until what had arrived is done with; what is not by then comes back to another consumer."""
        if self._work is None:
            return
        work, self._work = self._work, None
        await asyncio.wait({work}, timeout=within_s)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    async def _arrived(self, message: AbstractIncomingMessage) -> None:
        self._waiting.append(message)
        self._some.set()
        if len(self._waiting) >= self._size:
            self._enough.set()

    async def _run(self) -> None:
        while await self._gather():
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            # Those of a connection that was lost come back on the new one; their tags mean nothing there.
            batch = [message for message in batch if _is_in_hand(message)]
            if batch:
                await self._acknowledge(batch, await self._verdicts(batch))

    async def _gather(self) -> bool:
        """Wait for a batch; return False when there will be none any more."""
        if not self._waiting and not self._stopping:
            self._some.clear()
            await self._some.wait()
        if len(self._waiting) < self._size and not self._stopping:
            self._enough.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), self._linger_s)
        return bool(self._waiting)

    async def _verdicts(self, batch: Sequence[AbstractIncomingMessage]) -> Verdicts:
        try:
            verdicts = await self._handler([Delivery.of(message, self._realm) for message in batch])
            return [verdict for _, verdict in zip(batch, verdicts, strict=True)]
        except Exception as error:  # noqa: BLE001 - whatever it was, no message is lost
            return [error] * len(batch)

    async def _acknowledge(self, batch: Sequence[AbstractIncomingMessage], verdicts: Verdicts) -> None:
        """One word for all that are done with, the last one's, after those of the others among them."""
        judged = list(zip(batch, verdicts, strict=True))
        await asyncio.gather(*(acknowledge(message, error) for message, error in judged if error is not None))
        done = [message for message, error in judged if error is None]
        if done:
            await quietly(done[-1].ack(multiple=True))


def _is_in_hand(message: AbstractIncomingMessage) -> bool:
    try:
        return not message.channel.is_closed
    except ChannelInvalidStateError:
        return False
