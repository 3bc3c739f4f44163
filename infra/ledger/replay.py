"""The stream, read from an offset until it has told of everything that the tables hold."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final, Protocol

from infra.event_stream import FIRST, Entry
from infra.ledger import sql
from infra.ledger.errors import CannotTellError
from infra.ledger.events import Reader, Told
from infra.ledger.scratch import Scratch

_AT_ONCE: Final = 10_000
_POLL_S: Final = 0.3


class Stream(Protocol):
    """`infra.event_stream.EventStream`, as far as it is needed here."""

    async def find(self, start: str) -> int: ...

    async def end(self) -> int: ...

    def read(self, start: int, end: int) -> AsyncGenerator[list[Entry], None]: ...


class Replay:
    """Reads on and on. `reached` is the offset after the last one that was read."""

    def __init__(self, stream: Stream, scratch: Scratch, realm: str, start: int) -> None:
        self.reached = start
        self._stream = stream
        self._scratch = scratch
        self._reader = Reader(realm)

    async def run(self, end: int, wait_s: float) -> None:
        """Read up to before `end`, then on while waiting up to `wait_s` for what is still under way.

        Raises CannotTellError when the stream drops what was to be read, OSError when it is away.
        """
        await self._read_up_to(end)
        deadline = asyncio.get_running_loop().time() + wait_s
        await self._scratch.database.execute(sql.ANALYZE)
        while not await self._scratch.says(sql.ALL_PUBLISHED) and await _pause(deadline):
            await self._read_up_to(await self._stream.end())
        while not await self._scratch.says(sql.ALL_RECORDED) and await _pause(deadline):
            pass

    async def _read_up_to(self, end: int) -> None:
        if end <= self.reached:
            return
        told: list[Told] = []
        async with (
            _one_at_a_time(self._scratch) as take,
            aclosing(self._stream.read(self.reached, end)) as batches,
        ):
            async for batch in batches:
                told += [part for entry in batch for part in self._reader.read(entry)]
                await self._follow(batch)
                if len(told) >= _AT_ONCE:
                    await take(told)
                    told = []
            await take(told)

    async def _follow(self, batch: list[Entry]) -> None:
        for entry in batch:
            if entry.offset != self.reached and await self._stream.find(FIRST) > self.reached:
                raise CannotTellError(f"the stream dropped offset {self.reached} before it was read")
            self.reached = entry.offset + 1


@asynccontextmanager
async def _one_at_a_time(scratch: Scratch) -> AsyncIterator[Callable[[list[Told]], Awaitable[None]]]:
    """While some of it is taken, the next is read. At the end all is taken."""
    taking: asyncio.Future[None] | None = None

    async def take(told: list[Told]) -> None:
        nonlocal taking
        if taking is not None:
            await taking
        taking = asyncio.ensure_future(scratch.take(told))

    try:
        yield take
        if taking is not None:
            await taking
    finally:
        if taking is not None:
            taking.cancel()


async def _pause(deadline: float) -> bool:
    """Return False at once when it is too late."""
    left_s = deadline - asyncio.get_running_loop().time()
    if left_s > 0:
        await asyncio.sleep(min(_POLL_S, left_s))
    return left_s > 0
