"""Councils, found again: to hear their runs, to look at them, to stop them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from services.api_edge.domain.council import Council
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.runs import KeptRun
from services.api_edge.ports import CouncilStore, RunBus, RunStore
from services.api_edge.use_cases.follow_run import FollowRun, is_free
from services.api_edge.use_cases.hearing import Hearing
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunEnded
from shared.kernel.errors import NotFoundError, PlatformError, RunCancelledError, ServiceUnavailableError
from shared.kernel.names import API_EDGE, Outcome

_LOOK_S: Final = 0.1
_LOOKS_MAX: Final = 50
_ASKED_WITHIN: Final = timedelta(seconds=30)
"""Members that were not asked by then never are: the edge that was to ask them is gone."""


class NotAskedError(ServiceUnavailableError):
    """Nobody has asked for a council's run, and nobody will."""


class FollowCouncil:
    """On any edge, whichever it was called at."""

    def __init__(self, *, councils: CouncilStore, runs: RunStore, bus: RunBus, follow: FollowRun) -> None:
        self._councils = councils
        self._runs = runs
        self._bus = bus
        self._follow = follow

    async def find(self, caller: Caller, council_id: UUID) -> Council:
        """Raise NotFoundError for a council that is not the caller's."""
        found = await self._councils.find(caller.user_id, council_id)
        if found is None:
            raise NotFoundError("no such council")
        return found

    async def run(self, council: Council, run_id: UUID) -> KeptRun | None:
        """Return one of its runs; None before it is asked for."""
        return await self._runs.find(council.user_id, run_id)

    async def runs(self, council: Council) -> dict[UUID, KeptRun]:
        """Return its runs that were asked for, the synthesis last."""
        found = await asyncio.gather(*(self.run(council, run_id) for run_id in council.run_ids))
        return {run.record.run_id: run for run in found if run is not None}

    async def outcomes(self, council: Council) -> dict[UUID, Outcome | None]:
        """Return how its runs that were asked for ended; None: not yet."""
        return await self._runs.outcomes(council.user_id, council.run_ids)

    @asynccontextmanager
    async def hearing(self, council: Council, run_id: UUID) -> AsyncIterator[Hearing]:
        """Hear one of its runs from its beginning on.

        Raises NotAskedError when it is not asked for in time, NotFoundError when it is not kept.
        """
        found = await self._asked(council, run_id)
        run = await self._follow.kept(found)
        try:
            yield Hearing(run, found.kind)
        finally:
            run.close()

    async def has_synthesis(self, council: Council) -> bool:
        """Wait until the synthesis is asked for; return False when it is not to be."""
        while True:
            found = await self._councils.find(council.user_id, council.council_id)
            if await self.run(council, council.synthesis_id) is not None:
                return True
            if found is None or found.question is None:
                return False
            await asyncio.sleep(_LOOK_S)

    async def cancel(self, council: Council, *, free: bool = False) -> dict[UUID, Outcome | None]:
        """Stop what goes on, and what was to follow; with `free` the idempotency key may be used anew.

        Return how its runs stood, as `outcomes` does.

        Also what is being asked for right now: workers remember whom they were told to stop. When nobody has
        the last run yet, nobody else would tell of its end.
        """
        try:
            await self._councils.close(council.council_id, free=free)
            outcomes = await self.outcomes(council)
        except PlatformError:
            self._stop(council, {})  # the workers hear of it all the same
            raise
        self._stop(council, outcomes)
        if council.question is not None:
            await self._runs.end([_unasked(council)])
        return outcomes

    def _stop(self, council: Council, outcomes: Mapping[UUID, Outcome | None]) -> None:
        for run_id in council.run_ids:
            if outcomes.get(run_id) is None:
                self._bus.cancel(run_id)

    async def is_free(self, council: Council, now: datetime) -> bool:
        """Say whether its idempotency key may be used anew: nobody was asked in time, or all runs' may be."""
        runs = await self.runs(council)
        *members, _ = council.run_ids
        if now < council.created_at + _ASKED_WITHIN and not runs.keys() >= set(members):
            return False
        return all(is_free(run, now) for run in runs.values())

    async def _asked(self, council: Council, run_id: UUID) -> KeptRun:
        for _ in range(_LOOKS_MAX):
            if (found := await self.run(council, run_id)) is not None:
                return found
            await asyncio.sleep(_LOOK_S)
        raise NotAskedError("the run was not asked for", service=API_EDGE)


def _unasked(council: Council) -> RunEnded:
    return RunEnded(
        run_id=council.synthesis_id,
        user_id=council.user_id,
        outcome=Outcome.CANCELLED,
        error=ErrorBody.of(RunCancelledError("the council was ended before its answer")),
        ended_at=datetime.now(UTC),
    )
