"""A run that comes again: somebody claimed it before. Whatever happened, the provider is not called twice."""

import asyncio
from collections.abc import Sequence

from services.inference.domain.attempt import Ending, usage_event
from services.inference.ports import AttemptStore, Clock, StoredAttempt
from services.inference.use_cases.heart import Heart
from services.inference.use_cases.in_flight import InFlight
from services.inference.use_cases.insist import insist
from services.inference.use_cases.limits import Limits
from services.inference.use_cases.publish_usage import PublishUsage
from services.inference.use_cases.run import Run
from shared.contracts.rpc import ErrorBody
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import InternalError, PlatformError, WorkerLostError
from shared.kernel.names import Outcome


class RecoverRun:
    """Waits while another worker may still be at it, and ends what a lost one left."""

    def __init__(
        self,
        *,
        store: AttemptStore,
        publish: PublishUsage,
        heart: Heart,
        in_flight: InFlight,
        limits: Limits,
        now: Clock,
    ) -> None:
        self._store = store
        self._publish = publish
        self._heart = heart
        self._in_flight = in_flight
        self._limits = limits
        self._now = now

    async def __call__(self, run: Run) -> StoredAttempt | None:
        """Return the last attempt when it was lost and the client wants another; else all is said and done.

        Raises BusUnavailableError, or ServiceUnavailableError when this worker closes.
        """
        attempts = await self._ended_attempts(run)
        usages = [stored.usage for stored in attempts if stored.usage is not None]
        for usage in usages:
            await self._publish(usage)
        last = attempts[-1]
        if self._may_try_again(run, usages):
            self._remember(run, usages)
            return last
        await self._tell_again(run, last)
        return None

    async def give_up(self, run: Run) -> None:
        """End what a defect of ours left unfinished here: as long as this worker lives, nobody else will."""
        for stored in await insist(lambda: self._load(run), self._limits):
            if stored.usage is None and stored.attempt.worker == self._heart.worker:
                await self._end_lost(run, stored, Outcome.FAILED, InternalError())

    async def _tell_again(self, run: Run, last: StoredAttempt) -> None:
        """Its word to the edge may have been lost with the worker, and no answer is kept: whoever still waits
        for a completed run learns that. Who had the answer in time, or gets it right now, waits no more.
        """
        if last.error is None and run.request.kept:
            return  # the answer is kept, and on its way
        if last.error is None:
            await asyncio.sleep(self._limits.poll_s)
        error = last.error or ErrorBody.of(WorkerLostError("the answer was lost with its worker"))
        await run.progress.tell_failed(error, last.attempt.key.source if last.attempt.key else None)

    async def _ended_attempts(self, run: Run) -> Sequence[StoredAttempt]:
        while True:
            attempts = await insist(lambda: self._load(run), self._limits)
            unfinished = [stored for stored in attempts if stored.usage is None]
            if not unfinished:
                return attempts
            if all(self._is_lost(run, stored) for stored in unfinished):
                error = WorkerLostError("the worker was lost during the run")
                for stored in unfinished:
                    await self._end_lost(run, stored, Outcome.INTERRUPTED, error)
            else:
                self._in_flight.check_open()
                await asyncio.sleep(self._limits.poll_s)

    async def _load(self, run: Run) -> tuple[StoredAttempt, ...]:
        return await self._store.attempts(run.request.run_id, stale_after_s=self._limits.stale_after_s)

    def _is_lost(self, run: Run, stored: StoredAttempt) -> bool:
        """No delivery of this run is at work here, so what this worker left unfinished is lost as well.

        Others are judged only by a heart that itself beats steadily: after an outage all look stale. Long
        after the deadline nobody is at work on it any more, however well the worker is.
        """
        if stored.attempt.worker == self._heart.worker:
            return True
        is_stale = stored.stale or run.has_passed(run.request.deadline + self._limits.orphaned_after)
        return is_stale and self._heart.steady_s >= self._limits.stale_after_s

    async def _end_lost(
        self, run: Run, stored: StoredAttempt, outcome: Outcome, error: PlatformError
    ) -> None:
        usage = usage_event(run.request, stored.attempt, Ending(outcome, error), self._now())
        body = ErrorBody.of(error)
        end = None if run.request.retry_on_worker_loss else run.end(usage, body, None)
        await insist(lambda: self._store.finish(usage, body, end), self._limits)

    def _may_try_again(self, run: Run, usages: Sequence[UsageRecorded]) -> bool:
        losses = sum(usage.outcome is Outcome.INTERRUPTED for usage in usages)
        return (
            run.request.retry_on_worker_loss
            and usages[-1].outcome is Outcome.INTERRUPTED
            and losses < self._limits.losses_max
            and usages[-1].attempt < self._limits.attempts_max
            and not run.has_passed(run.request.deadline)
        )

    def _remember(self, run: Run, usages: Sequence[UsageRecorded]) -> None:
        """What failed before the worker was lost could be cured by another key, and was to be."""
        for usage in usages:
            run.note(usage)
            if usage.outcome is Outcome.FAILED and usage.credential_id is not None:
                run.exclude(usage.credential_id)
