"""A run that was asked for and is waited for."""

import asyncio
from collections.abc import Callable
from typing import Final
from uuid import UUID

from services.api_edge.use_cases.waiting_runs import Inbox
from shared.contracts.runs import RunChunk, RunCompleted, RunFailed, RunStarted
from shared.kernel.errors import (
    PlatformError,
    ProviderTimeoutError,
    RunCancelledError,
    ServiceUnavailableError,
)
from shared.kernel.names import API_EDGE, INFERENCE, KeySource

START_GRACE_S: Final = 1.0
"""How much later than `start_by` the edge hears of the start."""
_RETRY_S = 2.0


class ActiveRun:
    """Times are of the event loop's clock, in seconds. Close it: that cancels it unless it has ended.

    Set `asked` before the workers can know of it; a run not asked for is not cancelled.
    """

    def __init__(
        self, run_id: UUID, inbox: Inbox, *, start_by: float, deadline: float, close: Callable[[bool], None]
    ) -> None:
        self.run_id = run_id
        self.deadline = deadline
        self.asked = False
        self.key_source: KeySource | None = None
        self._inbox = inbox
        self._limit = min(start_by + START_GRACE_S, deadline)
        self._started = False
        self._finished = False
        self._close = close

    async def next(self) -> RunChunk | RunCompleted:
        """Return the next chunk, or the end.

        Raises the run's own error, ServiceUnavailableError when no worker started it in time,
        ProviderTimeoutError at the deadline, BusUnavailableError when its progress is lost; and
        ServiceUnavailableError when its task is cancelled.
        """
        while True:
            match await self._progress():
                case RunStarted(key_source=source):
                    self._started, self._limit = True, self.deadline
                    self.key_source = source
                case RunChunk() as chunk:
                    return chunk
                case RunCompleted() as completed:
                    self._finished, self.key_source = True, completed.key_source
                    return completed
                case RunFailed() as failed:
                    self._finished, self.key_source = True, failed.key_source or self.key_source
                    raise failed.error.to_error()

    async def _progress(self) -> RunStarted | RunChunk | RunCompleted | RunFailed:
        try:
            async with asyncio.timeout_at(self._limit):
                return await self._inbox.get()
        except TimeoutError:
            raise self._too_late() from None
        except asyncio.CancelledError:
            # The server ends what is open when its grace is over, and would answer 500 for us.
            raise ServiceUnavailableError(
                "the edge is closing", service=API_EDGE, retry_after_s=_RETRY_S
            ) from None

    def _too_late(self) -> PlatformError:
        if self._started:
            return ProviderTimeoutError("the run reached its deadline")
        return ServiceUnavailableError(
            "no worker took the run in time", service=INFERENCE, retry_after_s=_RETRY_S
        )

    def abandon(self) -> None:
        """The client is gone: `next` raises RunCancelledError."""
        self._inbox.fail(RunCancelledError("the client went away"))

    def close(self) -> None:
        self._close(self.asked and not self._finished)
