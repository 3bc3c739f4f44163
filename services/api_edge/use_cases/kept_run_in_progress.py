"""A kept run that somebody waits for. It goes on without them, and without this process."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from services.api_edge.use_cases.running import client_gone, in_time, reached_deadline
from services.api_edge.use_cases.waiting_runs import Inbox
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunChunk, RunCompleted, RunEnded, RunFailed, RunProgress, RunStarted
from shared.kernel.errors import (
    InternalError,
    PlatformError,
)
from shared.kernel.names import KeySource

_SILENCE_MAX_S: Final = 5.0

LookFor = Callable[[], Awaitable[RunEnded | None]]
Attach = Callable[[int], Awaitable[None]]


class KeptRunInProgress:
    """Hears of a run from its worker; when that is silent, looks for its end, and asks to be told again.

    Times are of the event loop's clock, in seconds. `start_limit`: until when it must have begun;
    `silence_s`: after how long without a word it is looked for, twice as long the next time; `is_late`: it
    may have told something, or be over, so it is looked for at once; `not_taken`: what is said when it has
    not begun in time.
    """

    def __init__(
        self,
        run_id: UUID,
        inbox: Inbox,
        *,
        start_limit: float,
        deadline: float,
        silence_s: float,
        is_late: bool,
        look: LookFor,
        attach: Attach,
        not_taken: Callable[[], PlatformError],
        close: Callable[[], None],
    ) -> None:
        self.run_id = run_id
        self.deadline = deadline
        self.key_source: KeySource | None = None
        self.close = close
        self._inbox = inbox
        self._limit = min(start_limit, deadline)
        self._silence_s = silence_s
        self._is_late = is_late
        self._look = look
        self._attach = attach
        self._not_taken = not_taken
        self._chunks = 0
        self._rest: deque[RunChunk | RunCompleted | RunFailed] = deque()

    def abandon(self) -> None:
        self._inbox.fail(client_gone())

    async def next(self) -> RunChunk | RunCompleted:
        if self._is_late:
            self._is_late = False
            await in_time(self._is_over(), self.deadline)
        while True:
            match self._rest.popleft() if self._rest else await self._progress():
                case RunStarted(key_source=source):
                    self._limit, self.key_source = self.deadline, source
                case RunChunk(index=index, chunks=chunks) as chunk:
                    self._limit, self._chunks = self.deadline, index + len(chunks)
                    self.key_source = chunk.key_source or self.key_source
                    return chunk
                case RunCompleted() as completed:
                    self.key_source = completed.key_source
                    return completed
                case RunFailed() as failed:
                    self.key_source = failed.key_source or self.key_source
                    raise failed.error.to_error()

    async def _progress(self) -> RunProgress:
        silence_s = self._silence_s
        while True:
            try:
                until = asyncio.get_running_loop().time() + silence_s
                return await in_time(self._inbox.get(), min(until, self._limit))
            except TimeoutError:
                if await self._is_over():
                    return self._rest.popleft()
                self._check_time()
            silence_s = min(2 * silence_s, _SILENCE_MAX_S)

    async def _is_over(self) -> bool:
        """Look for the end; while there is none, ask whoever has the run. What is away is waited for."""
        try:
            end = await self._look()
            if end is None:
                await self._attach(self._inbox.next_seq)
                return False
        except PlatformError:
            return False
        self._rest.extend(rest_of(end, self._chunks))
        return True

    def _check_time(self) -> None:
        if asyncio.get_running_loop().time() < self._limit:
            return
        if self._limit >= self.deadline:
            raise reached_deadline()
        raise self._not_taken()


def rest_of(end: RunEnded, heard: int) -> tuple[RunChunk | RunCompleted | RunFailed, ...]:
    """Return what is still to be told of a run that is over, to whom has heard so many of its chunks."""
    rest = end.chunks[heard:]
    told = (_chunks(end, rest, heard),) if rest else ()
    return (*told, _last(end))


def _chunks(end: RunEnded, rest: tuple[str, ...], heard: int) -> RunChunk:
    return RunChunk(run_id=end.run_id, seq=0, index=heard, chunks=rest, key_source=end.key_source)


def _last(end: RunEnded) -> RunCompleted | RunFailed:
    if end.error is not None or end.key_source is None:
        error = end.error or ErrorBody.of(InternalError())
        return RunFailed(run_id=end.run_id, seq=0, error=error, key_source=end.key_source)
    return RunCompleted(
        run_id=end.run_id,
        seq=0,
        key_source=end.key_source,
        response=end.response,
        key_uses=end.key_uses,
        usage=end.usage,
    )
