"""Councils, found again: to hear their runs, to look at them, to stop them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from services.api_edge.domain.identity import Caller
from services.api_edge.ports import Council, CouncilStore, KeptRun, RunStore
from services.api_edge.use_cases.follow_run import FollowRun
from services.api_edge.use_cases.hearing import Hearing
from shared.kernel.errors import NotFoundError, ServiceUnavailableError
from shared.kernel.names import API_EDGE

_LOOK_S: Final = 0.1
_LOOKS_MAX: Final = 50


class FollowCouncil:
    """On any edge, whichever it was called at."""

    def __init__(self, *, councils: CouncilStore, runs: RunStore, follow: FollowRun) -> None:
        self._councils = councils
        self._runs = runs
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

    @asynccontextmanager
    async def hearing(self, council: Council, run_id: UUID) -> AsyncIterator[Hearing]:
        """Hear one of its runs from its beginning on.

        Raises ServiceUnavailableError when it is not asked for in time, NotFoundError when it is not kept.
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

    async def cancel(self, council: Council, *, free: bool = False) -> None:
        """Stop what goes on, and what was to follow; with `free` the idempotency key may be used anew."""
        await self._councils.close(council.council_id, free=free)
        for run in (await self.runs(council)).values():
            self._follow.cancel(run)

    async def _asked(self, council: Council, run_id: UUID) -> KeptRun:
        for _ in range(_LOOKS_MAX):
            if (found := await self.run(council, run_id)) is not None:
                return found
            await asyncio.sleep(_LOOK_S)
        raise ServiceUnavailableError("the run was not asked for", service=API_EDGE)
