"""Group commit: many callers, one transaction, or one write to the bus."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Final, Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_SIZE: Final = 128
_LINGER_MS: Final = 3.0


class Batcher(Generic[ItemT, ResultT]):
    """Gathers items while a batch is under way, hands them over, answers each caller.

    A batch waits until it has as many as the last one had, for `linger_ms` at most: who comes alone waits for
    nobody, and of many at once more go together each time, up to `size`. One batch is under way at a time.
    `handle` returns one result per item, in order. What it raises, every caller of the batch gets. It runs in
    no caller's context: what it logs is said of no run, and belongs to no trace.
    """

    def __init__(
        self,
        handle: Callable[[list[ItemT]], Awaitable[list[ResultT]]],
        *,
        size: int = _SIZE,
        linger_ms: float = _LINGER_MS,
    ) -> None:
        self._handle = handle
        self._size = size
        self._linger_s = linger_ms / 1000
        self._expected = 1
        self._waiting: list[tuple[ItemT, asyncio.Future[ResultT]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Handle | None = None
        self._under_way: asyncio.Task[None] | None = None

    async def submit(self, item: ItemT) -> ResultT:
        """Return its result. Cancelled before its batch has begun, it is left out."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT] = loop.create_future()
        self._waiting.append((item, future))
        if self._flushing is None:
            self._flush_when_due(loop)
        return await future

    def _flush_when_due(self, loop: asyncio.AbstractEventLoop) -> None:
        if len(self._waiting) >= self._expected:
            self._flushing = loop.call_soon(self._flush)  # whoever comes in the same turn is of it
        elif self._timer is None:
            self._timer = loop.call_later(self._linger_s, self._flush)

    def _flush(self) -> None:
        for handle in (self._timer, self._flushing):
            if handle is not None:
                handle.cancel()
        self._timer = self._flushing = None
        if self._under_way is None:
            self._begin()

    def _begin(self) -> None:
        wanted = [(item, future) for item, future in self._waiting if not future.done()]
        batch, self._waiting = wanted[: self._size], wanted[self._size :]
        if batch:
            self._expected = len(batch)
            self._under_way = asyncio.create_task(self._run(batch), context=Context())
            self._under_way.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._under_way = None
        if self._timer is None and self._flushing is None:  # else somebody still waits for others
            self._begin()

    async def _run(self, batch: list[tuple[ItemT, asyncio.Future[ResultT]]]) -> None:
        try:
            results = await self._handle([item for item, _ in batch])
            answers = list(zip(batch, results, strict=True))
        except BaseException as error:  # noqa: BLE001 - each waiting caller raises it
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in answers:
            if not future.done():
                future.set_result(result)
