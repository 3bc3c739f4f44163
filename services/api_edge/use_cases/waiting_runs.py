"""The runs somebody waits for here, and what their workers tell, in order."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from shared.contracts.runs import RunChunk, RunCompleted, RunFailed, RunStarted
from shared.kernel.errors import (
    BusUnavailableError,
    PlatformError,
    RunCancelledError,
    ServiceUnavailableError,
)
from shared.kernel.names import API_EDGE

Progress = RunStarted | RunChunk | RunCompleted | RunFailed

_UNREAD_BYTES_MAX = 4 * 1024 * 1024
_MESSAGE_BYTES = 250
"""What a message takes in memory beside its text, about."""
_RETRY_S = 1.0


class Inbox:
    """Progress of one run. Ends with RunCompleted, RunFailed or `fail`; what comes later is dropped."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[Progress | PlatformError] = asyncio.Queue()
        self._seq = 0
        self._unread_bytes = 0
        self._ended = False

    def put(self, progress: Progress) -> None:
        """Take a message; drop one told twice. A gap in `seq` fails the run, but never loses its end."""
        if self._ended or not (progress.seq >= self._seq or isinstance(progress, RunFailed)):
            return
        if progress.seq > self._seq and not _stands_alone(progress):
            self.fail(
                BusUnavailableError("progress of the run was lost", service="rabbitmq", retry_after_s=2)
            )
            return
        self._unread_bytes += _bytes(progress)
        if self._unread_bytes > _UNREAD_BYTES_MAX:
            self.fail(RunCancelledError("the client does not read"))
            return
        self._seq = progress.seq + 1
        self._ended = isinstance(progress, RunCompleted | RunFailed)
        self._items.put_nowait(progress)

    def fail(self, error: PlatformError) -> None:
        if not self._ended:
            self._ended = True
            self._items.put_nowait(error)

    async def get(self) -> Progress:
        item = await self._items.get()
        if isinstance(item, PlatformError):
            raise item
        self._unread_bytes -= _bytes(item)
        return item


class WaitingRuns:
    """At most `runs_max` runs at once."""

    def __init__(self, runs_max: int) -> None:
        self._runs_max = runs_max
        self._inboxes: dict[UUID, Inbox] = {}

    def __contains__(self, run_id: UUID) -> bool:
        return run_id in self._inboxes

    def __len__(self) -> int:
        return len(self._inboxes)

    def open(self, run_id: UUID) -> Inbox:
        """Begin to wait for a run. Raises ServiceUnavailableError when as many as may be are waited for."""
        if len(self._inboxes) >= self._runs_max:
            raise ServiceUnavailableError("too many runs at once", service=API_EDGE, retry_after_s=_RETRY_S)
        inbox = self._inboxes[run_id] = Inbox()
        return inbox

    def close(self, run_id: UUID) -> None:
        self._inboxes.pop(run_id, None)

    def deliver(self, progress: Progress) -> None:
        """Hand over a message; nobody waits for a run that is not open."""
        if inbox := self._inboxes.get(progress.run_id):
            inbox.put(progress)

    def fail_all(self, error: Callable[[], PlatformError]) -> None:
        for inbox in self._inboxes.values():
            inbox.fail(error())


def _bytes(progress: Progress) -> int:
    """Return about what a message takes in memory. An answer that comes whole is bounded by its sender."""
    return _MESSAGE_BYTES + (sum(map(len, progress.chunks)) if isinstance(progress, RunChunk) else 0)


def _stands_alone(progress: Progress) -> bool:
    """Tell whether a message says all there is to say, so that nothing before it is missed."""
    return isinstance(progress, RunFailed) or (
        isinstance(progress, RunCompleted) and progress.response is not None
    )
