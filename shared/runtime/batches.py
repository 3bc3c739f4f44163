"""Consuming a work queue in batches: many messages in one piece of work, acknowledged at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol, TypeAlias

from aio_pika import IncomingMessage
from aio_pika.abc import AbstractRobustChannel, AbstractRobustConnection
from aiormq.abc import AbstractChannel, DeliveredMessage

from shared.runtime.acknowledging import acknowledge, quietly
from shared.runtime.delivery import Delivery
from shared.runtime.metrics import BusMeters
from shared.runtime.publisher import AWAY, TIMEOUT_S
from shared.runtime.rpc import RequestBus

BATCH_SIZE: Final = 500
AT_ONCE: Final = 2
_TAG: Final = "batches"
LINGER_MS: Final = 10.0

Verdicts: TypeAlias = Sequence[Exception | None]
BatchHandler: TypeAlias = Callable[[Sequence[Delivery]], Awaitable[Verdicts]]
"""Returns a verdict for each delivery, in order: None when it is done with, else what a `Handler` raises."""
Urgency: TypeAlias = Callable[[Delivery], bool]
"""Says of a delivery whether it, with those before it, waits no longer."""


def never(_: Delivery) -> bool:
    return False


class _Arrived(NamedTuple):
    message: DeliveredMessage
    delivery: Delivery


class BatchBus(RequestBus, Protocol):
    """What a service that answers requests and works in batches needs of the bus."""

    def subscribe_batches(
        self, queue: str, handler: BatchHandler, /, *, linger_ms: float = LINGER_MS, urgent: Urgency = never
    ) -> None: ...


class BatchConsumer:
    """Hands over what waits in a queue, two batches at a time; the next one gathers meanwhile.

    One is read and written here while the other is in the database; they are acknowledged in order. A batch
    is at least one message; then it waits until it has `size` of them or an `urgent` one, for `linger_ms` at
    most.
    """

    def __init__(
        self,
        queue: str,
        handler: BatchHandler,
        *,
        realm: str,
        size: int,
        linger_ms: float,
        urgent: Urgency = never,
        meters: BusMeters,
    ) -> None:
        self._name = queue
        self._handler = handler
        self._realm = realm
        self._size = size
        self._linger_s = linger_ms / 1000
        self._is_urgent = urgent
        self._hurries = False
        self._meters = meters
        self._waiting: list[_Arrived] = []
        self._some, self._enough = asyncio.Event(), asyncio.Event()
        self._stopping = False
        # Held, for aio-pika opens no others anew.
        self._robust: AbstractRobustChannel | None = None
        self._channel: AbstractChannel | None = None
        self._at_work: set[asyncio.Task[None]] = set()
        self._work: asyncio.Task[None] | None = None

    async def start(self, connection: AbstractRobustConnection) -> None:
        self._robust = channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=(AT_ONCE + 1) * self._size)
        await channel.declare_queue(self._name, passive=True)  # there it is looked for again, too, before:
        channel.reopen_callbacks.add(self._consume)
        self._work = asyncio.create_task(self._run())
        await self._consume(channel)

    async def _consume(self, channel: AbstractRobustChannel | None, *_: object) -> None:
        """Begin, on this connection or a new one.

        aio-pika's own consumer takes two tasks for each message, aiormq's takes one.
        """
        if channel is not None and not self._stopping:
            self._waiting.clear()  # what came on a connection before comes again on this one
            self._channel = await channel.get_underlay_channel()
            await self._channel.basic_consume(self._name, self._arrived, consumer_tag=_TAG)

    async def stop_consuming(self) -> None:
        self._stopping = True
        channel, self._channel = self._channel, None
        if channel is not None:
            with suppress(*AWAY):
                async with asyncio.timeout(TIMEOUT_S):
                    await channel.basic_cancel(_TAG)
        self._some.set()
        self._enough.set()

    async def finish(self, within_s: float) -> None:
        """Wait until what had arrived is done with; what is not by then comes back to another consumer."""
        if self._work is None:
            return
        work, self._work = self._work, None
        await asyncio.wait({work}, timeout=within_s)
        left = [work, *self._at_work]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _arrived(self, message: DeliveredMessage) -> None:
        delivery = Delivery.told(message, self._realm)
        self._waiting.append(_Arrived(message, delivery))
        self._hurries = self._hurries or self._is_urgent(delivery)
        self._some.set()
        if self._has_enough:
            self._enough.set()

    @property
    def _has_enough(self) -> bool:
        return self._hurries or self._stopping or len(self._waiting) >= self._size

    async def _run(self) -> None:
        before: asyncio.Task[None] | None = None
        while await self._gather():
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            self._hurries = any(self._is_urgent(left.delivery) for left in self._waiting)
            before = asyncio.create_task(self._handle(batch, before))
            self._at_work.add(before)
            before.add_done_callback(self._at_work.discard)
            while len(self._at_work) >= AT_ONCE:
                await asyncio.wait(self._at_work, return_when=asyncio.FIRST_COMPLETED)
        if self._at_work:
            await asyncio.wait(self._at_work)

    async def _handle(self, arrived: Sequence[_Arrived], before: "asyncio.Task[None] | None") -> None:
        # Those of a connection that was lost come back on the new one; their tags mean nothing there.
        batch = [one for one in arrived if not one.message.channel.is_closed]
        verdicts = await self._verdicts(batch) if batch else ()
        if before is not None:  # what acknowledges this batch acknowledges what came before it, too
            await asyncio.wait({before})
        await self._acknowledge(batch, verdicts)

    async def _gather(self) -> bool:
        """Wait for a batch, which may be empty; return False when there will be none any more."""
        if not self._waiting and not self._stopping:
            self._some.clear()
            await self._some.wait()
        if not self._has_enough:
            self._enough.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._linger_s):
                    await self._enough.wait()
        return bool(self._waiting) or not self._stopping

    async def _verdicts(self, batch: Sequence[_Arrived]) -> Verdicts:
        try:
            verdicts = await self._handler([one.delivery for one in batch])
            return [verdict for _, verdict in zip(batch, verdicts, strict=True)]
        except Exception as error:  # noqa: BLE001 - whatever it was, no message is lost
            return [error] * len(batch)

    async def _acknowledge(self, batch: Sequence[_Arrived], verdicts: Verdicts) -> None:
        """One word for all that are done with, the last one's, after those of the others among them."""
        judged = [(one.message, verdict) for one, verdict in zip(batch, verdicts, strict=True)]
        refused = [(message, error) for message, error in judged if error is not None]
        await asyncio.gather(
            *(
                acknowledge(IncomingMessage(message), error, queue=self._name, meters=self._meters)
                for message, error in refused
            )
        )
        done = [message for message, error in judged if error is None]
        if done:
            await quietly(IncomingMessage(done[-1]).ack(multiple=True))
