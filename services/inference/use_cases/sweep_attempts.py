"""What is left behind: attempts without an end, ends that nobody has published, and what is old."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from services.inference.domain.attempt import Ending, usage_event
from services.inference.domain.run_end import publishable, run_ended
from services.inference.ports import AbandonedAttempt, AttemptStore, Clock, Outbox, UsageLog
from services.inference.use_cases.heart import Heart
from services.inference.use_cases.in_flight import InFlight
from services.inference.use_cases.limits import Limits
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunEnded
from shared.kernel.errors import WorkerLostError
from shared.kernel.ids import first_id_of
from shared.kernel.names import Outcome

_AT_ONCE: Final = 100
"""Few enough not to hold up the runs beside it."""
_ENDS_AT_ONCE: Final = 2
"""An end holds a whole answer."""
_OLD_AT_ONCE: Final = 5000
"""More than a worker adds between two sweeps."""


class SweepAttempts:
    """Any number of workers may do it at once."""

    def __init__(
        self,
        *,
        store: AttemptStore,
        outbox: Outbox,
        usage_log: UsageLog,
        heart: Heart,
        in_flight: InFlight,
        limits: Limits,
        now: Clock,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._usage_log = usage_log
        self._heart = heart
        self._in_flight = in_flight
        self._limits = limits
        self._now = now

    async def __call__(self) -> None:
        """Do each job, whatever becomes of the others. Raises what the first that failed raised, such as
        BusUnavailableError or DatabaseUnavailableError; what is left is done the next time.
        """
        jobs = (self._publish_usages, self._publish_ends, self._end_abandoned, self._forget_old)
        failures = [await _failure_of(job) for job in jobs]
        for failure in failures:
            if failure is not None:
                raise failure

    async def _end_abandoned(self) -> None:
        """A run whose message comes again is taken up by who gets it; here, its message is gone.

        Only a worker whose own heart beats steadily judges others. What it could not end itself, while the
        run was still at work here, it ends now.
        """
        if self._heart.steady_s < self._limits.stale_after_s:
            return
        abandoned = await self._store.abandoned(
            own=self._heart.worker,
            stale_after_s=self._limits.stale_after_s,
            overdue_s=self._limits.orphaned_after.total_seconds(),
            limit=_AT_ONCE,
        )
        for each in abandoned:
            if not self._in_flight.has(each.attempt.run_id):
                await self._end(each)

    async def _end(self, abandoned: AbandonedAttempt) -> None:
        error = WorkerLostError("the worker was lost during the run")
        ending = Ending(Outcome.INTERRUPTED, error)
        usage, body = usage_event(abandoned.run, abandoned.attempt, ending, self._now()), ErrorBody.of(error)
        await self._store.finish(usage, body, run_ended([usage], body) if abandoned.run.kept else None)

    async def _forget_old(self) -> None:
        await self._outbox.forget(first_id_of(self._now() - self._limits.attempts_ttl), limit=_OLD_AT_ONCE)

    async def _publish_usages(self) -> None:
        await self._relay_all(partial(self._outbox.relay, self._usage_log.record), _AT_ONCE)

    async def _publish_ends(self) -> None:
        await self._relay_all(partial(self._outbox.relay_ends, self._publish_end), _ENDS_AT_ONCE)

    async def _relay_all(self, relay: Callable[..., Awaitable[int]], limit: int) -> None:
        while await relay(ended_before_s=self._limits.unpublished_after_s, limit=limit) == limit:
            pass

    async def _publish_end(self, end: RunEnded) -> None:
        """One that no message can hold would be tried for ever, and closes the channel each time."""
        await self._usage_log.record_end(publishable(end))


async def _failure_of(job: Callable[[], Awaitable[None]]) -> Exception | None:
    try:
        await job()
    except Exception as error:  # noqa: BLE001 - it is raised once the other jobs are done
        return error
    return None
