"""End an attempt for good: the row, the word to the edge, the usage event, in this order."""

from contextlib import AbstractAsyncContextManager
from typing import Final

from services.inference.domain.attempt import Attempt, Ending, usage_event
from services.inference.domain.run_end import answer_chars
from services.inference.ports import AttemptStore, Clock
from services.inference.use_cases.insist import insist
from services.inference.use_cases.large_turns import LargeTurns
from services.inference.use_cases.limits import Limits
from services.inference.use_cases.publish_usage import PublishUsage
from services.inference.use_cases.run import Run
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunEnded
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import DatabaseUnavailableError, InternalError, PlatformError
from shared.kernel.names import Outcome

_LARGE_CHARS: Final = 1024 * 1024


class EndAttempt:
    """Of large kept answers one is written down, or published, at a time: each takes several copies."""

    def __init__(self, *, store: AttemptStore, publish: PublishUsage, limits: Limits, now: Clock) -> None:
        self._store = store
        self._publish = publish
        self._limits = limits
        self._now = now
        self._turns = LargeTurns(_LARGE_CHARS)

    async def record(self, run: Run, attempt: Attempt, ending: Ending) -> None:
        """End an attempt that another one follows. Raises BusUnavailableError."""
        usage = self._ended(run, attempt, ending)
        error = ErrorBody.of(ending.error) if ending.error else None
        if await insist(lambda: self._store.finish(usage, error), self._limits):
            await self._publish(usage)

    async def __call__(self, run: Run, attempt: Attempt, ending: Ending, error: PlatformError | None) -> None:
        """End the run's last attempt and the run, by `error` when it failed. Raises BusUnavailableError.

        The client waits for the row, not for the event; and when the database is away, for neither.
        """
        usage = self._ended(run, attempt, ending)
        body = ErrorBody.of(error) if error else None
        end = run.end(usage, body, ending.response)
        try:
            ended = await self._write(usage, body, end)
        except DatabaseUnavailableError:
            await self._tell(run, attempt, ending, error)
            ended = await insist(lambda: self._write(usage, body, end), self._limits)
        else:
            if ended:
                await self._tell(run, attempt, ending, error)
        if ended:
            await self._publish_all(usage, end)

    async def _publish_all(self, usage: UsageRecorded, end: RunEnded | None) -> None:
        if end is not None:
            async with self._turn(end):
                await self._publish.end(end)
        await self._publish(usage)

    async def _write(self, usage: UsageRecorded, error: ErrorBody | None, end: RunEnded | None) -> bool:
        async with self._turn(end):
            return await self._store.finish(usage, error, end)

    def _turn(self, end: RunEnded | None) -> AbstractAsyncContextManager[object]:
        return self._turns.turn(0 if end is None else answer_chars(end))

    def _ended(self, run: Run, attempt: Attempt, ending: Ending) -> UsageRecorded:
        usage = usage_event(run.request, attempt, ending, self._now())
        run.note(usage)
        return usage

    async def _tell(self, run: Run, attempt: Attempt, ending: Ending, error: PlatformError | None) -> None:
        source = attempt.key.source if attempt.key else None
        if ending.outcome is Outcome.COMPLETED and source is not None:
            await run.progress.tell_completed(source, ending.response, run.attempts)
        else:
            await run.progress.tell_failed(error or InternalError(), source)
