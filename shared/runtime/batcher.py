"""Group commit: many callers, one transaction."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Batcher(Generic[ItemT, ResultT]):
    """Gathers items until `size` are there or `linger_ms` have passed, hands them over, answers each caller.

    `handle` returns one result per item, in order. What it raises, every caller of the batch gets.
    With `at_once`, no more batches than that are under way, and the next one grows meanwhile.
    """

    def __init__(
        self,
        handle: Callable[[list[ItemT]], Awaitable[list[ResultT]]],
        *,
        size: int,
        linger_ms: float,
        at_once: int | None = None,
    ) -> None:
        self._handle = handle
        self._size = size
        self._linger_s = linger_ms / 1000
        self._at_once = at_once
        self._waiting: list[tuple[ItemT, asyncio.Future[ResultT]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._busy = False

    async def submit(self, item: ItemT) -> ResultT:
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._waiting) >= self._size:
            self._flush()
        elif self._timer is None:
            linger_s = self._linger_s if self._busy else 0
            self._timer = asyncio.get_running_loop().call_later(linger_s, self._flush)
        return await future

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._at_once is not None and len(self._running) >= self._at_once:
            return
        wanted = [(item, future) for item, future in self._waiting if not future.done()]
        batch, self._waiting = wanted[: self._size], wanted[self._size :]
        if not batch:
            return
        self._busy = len(batch) > 1
        task = asyncio.ensure_future(self._run(batch))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting and self._timer is None:
            self._flush()

    async def _run(self, batch: list[tuple[ItemT, asyncio.Future[ResultT]]]) -> None:
        try:
            results = await self._handle([item for item, _ in batch])
        except BaseException as error:  # noqa: BLE001 - each waiting caller raises it
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
