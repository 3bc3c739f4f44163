"""The runs somebody waits for here, and what their workers tell, in order."""

import asyncio
from collections.abc import Callable
from copy import copy
from uuid import UUID

from shared.contracts.runs import RunChunk, RunCompleted, RunFailed, RunProgress
from shared.kernel.errors import (
    BusUnavailableError,
    PlatformError,
    RunCancelledError,
    ServiceUnavailableError,
)
from shared.kernel.names import API_EDGE

_UNREAD_BYTES_MAX = 4 * 1024 * 1024
_KEPT_UNREAD_BYTES_MAX = 32 * 1024 * 1024
"""A kept run is told again in one go."""
_MESSAGE_BYTES = 250
"""What a message takes in memory beside its text, about."""
_RETRY_S = 1.0


class Inbox:
    """Progress of one run. Ends with RunCompleted, RunFailed or `fail`; what comes later is dropped.

    `kept`: the run's worker can tell it again, from `next_seq` on.
    """

    def __init__(self, *, kept: bool = False) -> None:
        self.kept = kept
        self._items: asyncio.Queue[RunProgress | PlatformError] = asyncio.Queue()
        self._seq = 0
        self._unread_bytes = 0
        self._ended = False

    @property
    def next_seq(self) -> int:
        return self._seq

    def put(self, progress: RunProgress) -> None:
        """Take a message; drop one told twice. A gap in `seq` fails the run, but never loses its end: another
        worker may tell that, whose numbers are lower.

        Of a kept run, what comes after a gap is dropped: it is told again.
        """
        if self._ended:
            return
        if progress.seq != self._seq and not _stands_alone(progress):
            if progress.seq > self._seq:
                self._missed()
            return
        self._unread_bytes += _bytes(progress)
        if self._unread_bytes > (_KEPT_UNREAD_BYTES_MAX if self.kept else _UNREAD_BYTES_MAX):
            self.fail(RunCancelledError("the client does not read"))
            return
        self._seq = progress.seq + 1
        self._ended = isinstance(progress, RunCompleted | RunFailed)
        self._items.put_nowait(progress)

    def _missed(self) -> None:
        if not self.kept:
            self.fail(
                BusUnavailableError("progress of the run was lost", service="rabbitmq", retry_after_s=2)
            )

    def fail(self, error: PlatformError) -> None:
        if not self._ended:
            self._ended = True
            self._items.put_nowait(error)

    async def get(self) -> RunProgress:
        item = await self._items.get()
        if isinstance(item, PlatformError):
            raise copy(item)  # `item` itself would hold this frame, which holds it
        self._unread_bytes -= _bytes(item)
        return item


class WaitingRuns:
    """At most `runs_max` are waited for at once; of a kept run, by several if they like."""

    def __init__(self, runs_max: int) -> None:
        self._runs_max = runs_max
        self._inboxes: dict[UUID, tuple[Inbox, ...]] = {}
        self._open = 0

    def __contains__(self, run_id: UUID) -> bool:
        return run_id in self._inboxes

    def __len__(self) -> int:
        return self._open

    def open(self, run_id: UUID, *, kept: bool = False) -> Inbox:
        """Begin to wait for a run. Raises ServiceUnavailableError when as many as may be are waited for."""
        if self._open >= self._runs_max:
            raise ServiceUnavailableError("too many runs at once", service=API_EDGE, retry_after_s=_RETRY_S)
        inbox = Inbox(kept=kept)
        self._inboxes[run_id] = (*self._inboxes.get(run_id, ()), inbox)
        self._open += 1
        return inbox

    def close(self, run_id: UUID, inbox: Inbox) -> None:
        waiting = self._inboxes.get(run_id, ())
        left = tuple(other for other in waiting if other is not inbox)
        self._open -= len(waiting) - len(left)
        if left:
            self._inboxes[run_id] = left
        else:
            self._inboxes.pop(run_id, None)

    def deliver(self, progress: RunProgress) -> None:
        """Hand over a message; nobody waits for a run that is not open."""
        for inbox in self._inboxes.get(progress.run_id, ()):
            inbox.put(progress)

    def fail_all(self, error: Callable[[], PlatformError]) -> None:
        """The bus is lost: fail all but those whose run is told again when it is back."""
        for waiting in self._inboxes.values():
            for inbox in waiting:
                if not inbox.kept:
                    inbox.fail(error())


def _bytes(progress: RunProgress) -> int:
    """Return about what a message takes in memory. An answer that comes whole is bounded by its sender."""
    return _MESSAGE_BYTES + (sum(map(len, progress.chunks)) if isinstance(progress, RunChunk) else 0)


def _stands_alone(progress: RunProgress) -> bool:
    """Tell whether a message says all there is to say, so that nothing before it is missed."""
    return isinstance(progress, RunFailed) or (
        isinstance(progress, RunCompleted) and progress.response is not None
    )
