"""Start a run: record it, ask the workers, wait for it."""

import asyncio
from functools import partial

from services.api_edge.domain.runs import KeptRun, RunRecord
from services.api_edge.domain.start_run import StartRun
from services.api_edge.ports import RunBus, RunStore
from services.api_edge.use_cases.active_run import ActiveRun
from services.api_edge.use_cases.decide_run import DecideRun
from services.api_edge.use_cases.follow_run import FollowRun, check_same, is_free
from services.api_edge.use_cases.run_guard import RunGuard
from services.api_edge.use_cases.run_requests import RunRequests
from services.api_edge.use_cases.running import Running, not_taken
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts.runs import RunRequested
from shared.kernel.errors import NotSentError, PlatformError


class StartRunUseCase:
    def __init__(
        self,
        *,
        decide: DecideRun,
        requests: RunRequests,
        runs: RunStore,
        bus: RunBus,
        waiting: WaitingRuns,
        follow: FollowRun,
        guard: RunGuard,
    ) -> None:
        self._decide = decide
        self._requests = requests
        self._runs = runs
        self._bus = bus
        self._waiting = waiting
        self._follow = follow
        self._guard = guard

    async def __call__(self, command: StartRun) -> Running:
        """Return the run once the workers have it; with an idempotency key, the one that has it already.

        Raises BadInputError, ForbiddenError, UserApiKeyRequiredError, VaultUnavailableError (a key was sent
        and cannot be sealed), DatabaseUnavailableError, BusUnavailableError; with too many runs at once
        OverLimitError (the caller's) or ServiceUnavailableError (everybody's); and ConflictError for an
        idempotency key of another request.
        """
        self._guard.check(command.call)
        command, flow, model = await self._decide(command)
        message = self._requests(command, flow, model, reply_to=self._bus.reply_to)
        if message.kept:
            return await self._keep(command, message)
        return await self._start(message)

    async def _keep(self, command: StartRun, message: RunRequested) -> Running:
        kept = _kept(command, message)
        before = await self._before(kept)
        if before is None:
            return await self._ask(command, kept, message)
        if command.is_insistent and before.outcome is None:
            times = {"start_by": before.start_by, "deadline": before.deadline}
            return await self._ask(command, before, message.model_copy(update=times))
        check_same(before.idempotency, command.idempotency)
        return await self._follow.kept(before)

    async def _ask(self, command: StartRun, kept: KeptRun, message: RunRequested) -> Running:
        run = self._follow.own(kept)
        try:
            await self._bus.request(message)
        except BaseException as error:
            run.close()
            if not command.is_insistent:
                if _may_have_arrived(error):
                    self._bus.cancel(command.run_id)
                await self._runs.free(command.run_id)
            raise
        return run

    async def _before(self, run: KeptRun) -> KeptRun | None:
        """Keep a run; return the one that has its id or its key instead. Only a new one is too many."""
        async with self._guard.turn(run.record.user_id) as at_once_max:
            before = await self._runs.keep(run, at_once_max)
            if before is not None and is_free(before, run.created_at):
                await self._runs.free(before.record.run_id)
                before = await self._runs.keep(run, at_once_max)
        return before

    async def _start(self, message: RunRequested) -> ActiveRun:
        run = self._wait(message)
        try:
            await self._runs.add(_record(message))
            run.asked = True
            await self._bus.request(message)
        except BaseException as error:
            run.asked = run.asked and _may_have_arrived(error)
            run.close()
            raise
        return run

    def _wait(self, message: RunRequested) -> ActiveRun:
        run_id = message.run_id

        def close(cancel: bool) -> None:  # noqa: FBT001
            give_back()
            self._waiting.close(run_id, inbox)
            if cancel:
                self._bus.cancel(run_id)

        give_back = self._guard.take_place(message.user_id)
        try:
            inbox = self._waiting.open(run_id)
        except PlatformError:
            give_back()
            raise
        now, asked_at = asyncio.get_running_loop().time(), message.requested_at
        return ActiveRun(
            run_id,
            inbox,
            start_by=now + (message.start_by - asked_at).total_seconds(),
            deadline=now + (message.deadline - asked_at).total_seconds(),
            not_taken=partial(not_taken, self._bus),
            close=close,
        )


def _may_have_arrived(error: BaseException) -> bool:
    """Say whether a request that was not confirmed may have reached a worker all the same."""
    return not isinstance(error, NotSentError)


def _record(message: RunRequested) -> RunRecord:
    return RunRecord(message.run_id, message.user_id, message.flow, message.model, message.stream)


def _kept(command: StartRun, message: RunRequested) -> KeptRun:
    return KeptRun(
        record=_record(message),
        kind=command.kind,
        created_at=message.requested_at,
        start_by=message.start_by,
        deadline=message.deadline,
        session_id=message.session_id,
        council_id=command.council_id,
        idempotency=command.idempotency,
    )
