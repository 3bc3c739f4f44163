"""Group commit: many callers, one transaction, or one write to the bus."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from copy import copy
from typing import Final, Generic, TypeVar

from shared.kernel.errors import PlatformError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_SIZE: Final = 128
_LINGER_MS: Final = 3.0
_AT_ONCE: Final = 2


class Batcher(Generic[ItemT, ResultT]):
    """Gathers items while a batch is under way, hands them over, answers each caller.

    A batch waits until it has as many as the last one had, for `linger_ms` at most: who comes alone waits for
    nobody, and of many at once more go together each time, up to `size`. Two are under way at once, so that
    one that hangs does not hold up all others. `handle` returns for each item, in order, its result or the
    error that its caller gets; what it raises, every caller of the batch gets. It runs in nobody's context:
    what it logs is said of no run, and belongs to no trace.
    """

    def __init__(
        self,
        handle: Callable[[list[ItemT]], Awaitable[Sequence[ResultT | Exception]]],
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
        self._under_way: set[asyncio.Task[None]] = set()

    async def submit(self, item: ItemT) -> ResultT:
        """Return its result. Cancelled before its batch has begun, it is left out."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT] = loop.create_future()
        self._waiting.append((item, future))
        if self._flushing is None:
            self._flush_when_due(loop)
        try:
            return await future
        finally:
            del future  # its error holds this frame, which would hold it

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
        if len(self._under_way) < _AT_ONCE:
            self._begin()

    def _begin(self) -> None:
        wanted = [(item, future) for item, future in self._waiting if not future.done()]
        batch, self._waiting = wanted[: self._size], wanted[self._size :]
        if batch:
            self._expected = len(batch)
            task = asyncio.create_task(self._run(batch), context=Context())
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._timer is None and self._flushing is None:  # else somebody still waits for others
            self._begin()

    async def _run(self, batch: list[tuple[ItemT, asyncio.Future[ResultT]]]) -> None:
        results = await self._results([item for item, _ in batch])
        for (_, future), result in zip(batch, results, strict=True):
            _answer(future, result)

    async def _results(self, items: list[ItemT]) -> Sequence[ResultT | BaseException]:
        try:
            results = await self._handle(items)
            return [result for _, result in zip(items, results, strict=True)]
        except BaseException as error:  # noqa: BLE001 - each waiting caller raises it
            return [error] * len(items)


def _answer(future: "asyncio.Future[ResultT]", result: ResultT | BaseException) -> None:
    """An error of ours each caller gets for itself: raising adds to it."""
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(copy(result) if isinstance(result, PlatformError) else result)
    else:
        future.set_result(result)
