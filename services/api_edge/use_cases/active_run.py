"""A run that was asked for and is waited for."""

from collections.abc import Callable
from uuid import UUID

from services.api_edge.use_cases.running import (
    START_GRACE_S,
    client_gone,
    in_time,
    reached_deadline,
)
from services.api_edge.use_cases.waiting_runs import Inbox
from shared.contracts.runs import RunChunk, RunCompleted, RunFailed, RunProgress, RunStarted
from shared.kernel.errors import (
    PlatformError,
)
from shared.kernel.names import KeySource


class ActiveRun:
    """Times are of the event loop's clock, in seconds. Close it: that cancels it unless it has ended.

    Set `asked` before the workers can know of it; a run not asked for is not cancelled. `not_taken`: what is
    said when nobody has told of it in time.
    """

    def __init__(
        self,
        run_id: UUID,
        inbox: Inbox,
        *,
        start_by: float,
        deadline: float,
        not_taken: Callable[[], PlatformError],
        close: Callable[[bool], None],
    ) -> None:
        self.run_id = run_id
        self.deadline = deadline
        self.asked = False
        self.key_source: KeySource | None = None
        self._inbox = inbox
        self._limit = min(start_by + START_GRACE_S, deadline)
        self._started = False
        self._finished = False
        self._not_taken = not_taken
        self._close = close

    async def next(self) -> RunChunk | RunCompleted:
        while True:
            match await self._progress():
                case RunStarted() as started:
                    self._begun(started)
                case RunChunk() as chunk:
                    self._begun(chunk)
                    return chunk
                case RunCompleted() as completed:
                    self._finished, self.key_source = True, completed.key_source
                    return completed
                case RunFailed() as failed:
                    self._finished, self.key_source = True, failed.key_source or self.key_source
                    raise failed.error.to_error()

    def _begun(self, told: RunStarted | RunChunk) -> None:
        self._started, self._limit = True, self.deadline
        self.key_source = told.key_source or self.key_source

    async def _progress(self) -> RunProgress:
        try:
            return await in_time(self._inbox.get(), self._limit)
        except TimeoutError:
            raise self._too_late() from None

    def _too_late(self) -> PlatformError:
        if self._started or self._limit >= self.deadline:
            return reached_deadline()
        return self._not_taken()

    def abandon(self) -> None:
        self._inbox.fail(client_gone())

    def close(self) -> None:
        self._close(self.asked and not self._finished)
