"""End an attempt for good: the row, the word to the edge, the usage event, in this order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.inference.domain.attempt import Attempt, Ending, usage_event
from services.inference.ports import AttemptStore, Clock, UsageLog
from services.inference.use_cases.limits import Limits
from services.inference.use_cases.run import Run
from shared.contracts.rpc import ErrorBody
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import DatabaseUnavailableError, InternalError, PlatformError
from shared.kernel.names import Outcome

ResultT = TypeVar("ResultT")


class EndAttempt:
    def __init__(self, *, store: AttemptStore, usage_log: UsageLog, limits: Limits, now: Clock) -> None:
        self._store = store
        self._usage_log = usage_log
        self._limits = limits
        self._now = now

    async def record(self, run: Run, attempt: Attempt, ending: Ending) -> None:
        """End an attempt that another one follows. Raises BusUnavailableError."""
        usage = self._ended(run, attempt, ending)
        error = ErrorBody.of(ending.error) if ending.error else None
        if await self.insist(lambda: self._store.finish(usage, error)):
            await self._usage_log.record(usage)

    async def __call__(self, run: Run, attempt: Attempt, ending: Ending, error: PlatformError | None) -> None:
        """End the run's last attempt and the run, by `error` when it failed. Raises BusUnavailableError.

        The client waits for the row, not for the event; and when the database is away, for neither.
        """
        usage = self._ended(run, attempt, ending)
        body = ErrorBody.of(error) if error else None
        try:
            ended = await self._store.finish(usage, body)
        except DatabaseUnavailableError:
            await self._tell(run, attempt, ending, error)
            ended = await self.insist(lambda: self._store.finish(usage, body))
        else:
            if ended:
                await self._tell(run, attempt, ending, error)
        if ended:
            await self._usage_log.record(usage)

    def _ended(self, run: Run, attempt: Attempt, ending: Ending) -> UsageRecorded:
        usage = usage_event(run.request, attempt, ending, self._now())
        run.note(usage)
        return usage

    async def insist(self, operation: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Repeat until the database is back; whoever waits has a deadline of their own."""
        pause_s = self._limits.retry_pause_s
        while True:
            try:
                return await operation()
            except DatabaseUnavailableError:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, self._limits.retry_pause_max_s)

    async def _tell(self, run: Run, attempt: Attempt, ending: Ending, error: PlatformError | None) -> None:
        source = attempt.key.source if attempt.key else None
        if ending.outcome is Outcome.COMPLETED and source is not None:
            await run.tell_completed(source, ending.response)
        else:
            await run.tell_failed(error or InternalError(), source)
