"""The life of a run in a worker: claim, try, fail over, end; or recover what was claimed before."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from services.inference.domain.attempt import Attempt, Ending
from services.inference.domain.failures import NotAllowedError
from services.inference.ports import AttemptStore, Audience, Clock, ResolvedKey
from services.inference.use_cases.answer_memory import AnswerMemory
from services.inference.use_cases.end_attempt import EndAttempt
from services.inference.use_cases.in_flight import InFlight
from services.inference.use_cases.insist import insist
from services.inference.use_cases.limits import Limits
from services.inference.use_cases.recover_run import RecoverRun
from services.inference.use_cases.run import Run, StoppedError
from services.inference.use_cases.try_attempt import ClaimLostError, TryAttempt, too_late
from shared.contracts.runs import RunRequested
from shared.kernel.errors import (
    ConsentRequiredError,
    DatabaseUnavailableError,
    InvalidRequestError,
    PlatformError,
    SystemKeyExhaustedError,
    WorkerLostError,
)
from shared.kernel.ids import first_id_of, new_id
from shared.kernel.names import Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """How a run's last attempt ended here, for the log."""

    attempt: Attempt
    ending: Ending


@dataclass(frozen=True, slots=True)
class _Following:
    """An attempt and its key. `doubt`: why nobody knows whether it was claimed; None when it was."""

    attempt: Attempt
    key: ResolvedKey
    doubt: PlatformError | None = None


class RunInference:
    """`worker` names this process in the claims."""

    def __init__(
        self,
        *,
        store: AttemptStore,
        audience: Audience,
        try_attempt: TryAttempt,
        end: EndAttempt,
        recover: RecoverRun,
        in_flight: InFlight,
        worker: str,
        limits: Limits,
        now: Clock,
    ) -> None:
        self._store = store
        self._audience = audience
        self._try = try_attempt
        self._end = end
        self._recover = recover
        self._in_flight = in_flight
        self._worker = worker
        self._limits = limits
        self._now = now
        self._starting = asyncio.Semaphore(limits.starting_max)
        self._memory = AnswerMemory(limits.answer_memory_bytes_max)

    async def __call__(self, request: RunRequested, *, redelivered: bool = False) -> Report | None:
        """Return once the run has ended and its usage is published; None when it had ended before.

        One that comes for the first time is claimed with its key, in one statement. A redelivered one was
        claimed by somebody, most likely: nothing is asked for it before that is known.

        Raises a PlatformError when the message must come back: the usage could not be published, this worker
        closes, or the run was interrupted and wants another try; InvalidRequestError for a run so old that
        its attempts may be forgotten.
        """
        self._check_known(request)
        await self._in_flight.wait_for(request.run_id)
        with self._memory.share() as share:
            run = Run(request, self._audience, self._now, share=share, limits=self._limits)
            return await self._do(run, redelivered=redelivered)

    def _check_known(self, request: RunRequested) -> None:
        """Raise InvalidRequestError for one that would be taken for new, since its attempts are forgotten."""
        now = self._now()
        is_over = request.deadline < now - timedelta(days=1)
        if is_over and request.run_id < first_id_of(now - self._limits.attempts_ttl):
            raise InvalidRequestError("nobody knows any more what became of this run")

    async def _do(self, run: Run, *, redelivered: bool) -> Report | None:
        with self._in_flight.enter(run):
            attempt = self._new_attempt(run, 1)
            async with self._starting:
                is_first = not (redelivered or self._is_late(run))
                key = await self._try.prepare(run, attempt) if is_first else None
                is_ours = await self._claim(run, attempt)
            if is_ours:
                return await self._carry_out(run, attempt, key)
            return await self._take_up(run)

    async def _take_up(self, run: Run) -> Report | None:
        lost = await self._recover(run)
        if lost is None:
            return None
        attempt = self._new_attempt(run, lost.attempt.number + 1)
        if await self._claim(run, attempt):
            return await self._carry_out(run, attempt)
        return await self._take_up(run)

    async def _carry_out(
        self, run: Run, attempt: Attempt, key: ResolvedKey | PlatformError | None = None
    ) -> Report | None:
        try:
            return await self._attempts(run, attempt, key)
        except ClaimLostError:
            return await self._take_up(run)
        except PlatformError:
            raise
        except Exception:
            await self._recover.give_up(run)
            raise

    async def _attempts(self, run: Run, attempt: Attempt, key: ResolvedKey | PlatformError | None) -> Report:
        """Try until one attempt succeeds, or fails in a way no other credential can cure."""
        began, ending = attempt, await self._first(run, attempt, key)
        first_error, refusal, doubtful = ending.error, None, None
        while ending.curable and attempt.number < self._limits.attempts_max:
            following = await self._following(run, attempt)
            if not isinstance(following, _Following):
                refusal = following
                break
            if following.doubt is not None:
                doubtful = following
                break
            await self._end.record(run, attempt, ending)
            attempt = following.attempt
            ending = await self._try(run, attempt, following.key)
        ran_out = ending.curable or ending.outcome is Outcome.REFUSED
        error = _in_vain(began, first_error, refusal) if ran_out else ending.error
        await self._finish(run, attempt, ending, error)
        if doubtful is not None:
            await self._end.record(run, doubtful.attempt, Ending(Outcome.FAILED, doubtful.doubt))
        return Report(attempt, ending)

    async def _first(self, run: Run, attempt: Attempt, key: ResolvedKey | PlatformError | None) -> Ending:
        is_late = attempt.number == 1 and self._is_late(run)
        if run.told_late or is_late or run.has_passed(run.request.deadline):
            return Ending(Outcome.EXPIRED, too_late())
        return await self._try(run, attempt, key)

    def _is_late(self, run: Run) -> bool:
        """Say whether a run may not be started any more."""
        return run.has_passed(run.request.start_by) or run.has_passed(run.request.deadline)

    async def _following(self, run: Run, attempt: Attempt) -> "_Following | PlatformError | None":
        """Claim the next attempt with another key before the failed one ends, so that a run in progress
        always has an unfinished attempt. Else return why there is none, if anybody said so.

        The claim is not cut short: a stop finds it claimed, and ends it like any other.
        """
        following = self._new_attempt(run, attempt.number + 1)
        if attempt.key is not None:
            run.exclude(attempt.key.credential_id)
        try:
            async with run.on_leash():
                key = await self._try.resolve(run, following)
        except PlatformError as error:
            return error
        except StoppedError:
            return None
        try:
            claimed = await self._store.claim(following, run.request)
        except DatabaseUnavailableError as error:
            return _Following(following, key, doubt=error)
        return _Following(following, key) if claimed else None

    async def _finish(self, run: Run, attempt: Attempt, ending: Ending, error: PlatformError | None) -> None:
        if ending.outcome is Outcome.INTERRUPTED and run.request.retry_on_worker_loss:
            await self._end.record(run, attempt, ending)
            raise WorkerLostError("interrupted; another worker tries again")
        await self._end(run, attempt, ending, error)

    async def _claim(self, run: Run, attempt: Attempt) -> bool:
        """Wait for the database as long as it takes; whoever waits for the run is told when it gets late."""
        with run.telling_when_late(DatabaseUnavailableError(retry_after_s=2)):
            return await insist(
                lambda: self._store.claim(attempt, run.request),
                self._limits,
                check=self._in_flight.check_open,
            )

    def _new_attempt(self, run: Run, number: int) -> Attempt:
        return Attempt(
            run_id=run.request.run_id,
            number=number,
            usage_id=new_id(),
            worker=self._worker,
            claimed_at=self._now(),
        )


def _in_vain(
    began: Attempt, first_error: PlatformError | None, refusal: PlatformError | None
) -> PlatformError | None:
    """Return the error of a run that no other key could cure: the one that began it, which its user can mend.

    A run begun with the platform's key ends by what is said when its pools have run dry, unless it asked for
    what the key may not do.
    """
    is_theirs = began.key is None or began.key.source.is_byok or isinstance(first_error, NotAllowedError)
    if not is_theirs and isinstance(refusal, (SystemKeyExhaustedError, ConsentRequiredError)):
        return refusal
    return first_error
