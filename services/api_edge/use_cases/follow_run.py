"""Kept runs, found again: to hear the rest of them, to look at them, to stop them."""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from services.api_edge.domain.idempotency import Idempotency
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.runs import KeptRun
from services.api_edge.ports import RunBus, RunStore
from services.api_edge.use_cases.attaching import Attaching
from services.api_edge.use_cases.kept_run_in_progress import KeptRunInProgress
from services.api_edge.use_cases.places import GiveBack, Places
from services.api_edge.use_cases.running import START_GRACE_S, not_taken
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts.runs import RunEnded
from shared.kernel.errors import (
    BusUnavailableError,
    ConflictError,
    DatabaseUnavailableError,
    NotFoundError,
    ServiceUnavailableError,
    VaultUnavailableError,
)
from shared.kernel.names import Outcome

REUSED: Final = "idempotency_key_reused"
_NEVER_CALLED: Final = (Outcome.REFUSED, Outcome.EXPIRED)
_AWAY: Final = frozenset(
    error.code
    for error in (
        VaultUnavailableError,
        BusUnavailableError,
        DatabaseUnavailableError,
        ServiceUnavailableError,
    )
)
"""Parts of ours, before a provider was asked: no attempt ends by these once it was."""
LOST_AFTER: Final = timedelta(minutes=5)
"""How long after its deadline a run's end may still come: others judge first whether its worker is lost."""
_OWN_SILENCE_S: Final = 2.0
_LATE_SILENCE_S: Final = 0.5
_LATE_START_S: Final = 60.0
"""How long whoever comes late waits for a first word: a lost worker's run is ended by another within that."""


class FollowRun:
    """On any edge, whichever it was asked for at. `places`: in which a user hears kept runs here."""

    def __init__(
        self, *, runs: RunStore, bus: RunBus, attach: Attaching, waiting: WaitingRuns, places: Places
    ) -> None:
        self._runs = runs
        self._bus = bus
        self._attach = attach
        self._waiting = waiting
        self._places = places

    async def find(self, caller: Caller, run_id: UUID) -> KeptRun:
        """Raise NotFoundError for a run that is not the caller's, or not kept."""
        found = await self._runs.find(caller.user_id, run_id)
        if found is None:
            raise NotFoundError("no such run")
        return found

    async def kept(self, run: KeptRun) -> KeptRunInProgress:
        """Hear a run from its beginning on, or what is kept of it. Nothing is waited for here, so that nobody
        can go away between the opening and what closes it.

        Raises NotFoundError when nothing is, OverLimitError, ServiceUnavailableError.
        """
        if run.outcome is not None and run.end is None:
            raise NotFoundError("the run's answer is not kept any more")
        give_back = self._places.take(run.record.user_id)
        return self._hear(run, give_back, start_s=_LATE_START_S, silence_s=_LATE_SILENCE_S, is_late=True)

    def own(self, run: KeptRun) -> KeptRunInProgress:
        """Hear a run that is about to be asked for here."""
        start_s = (run.start_by - datetime.now(UTC)).total_seconds() + START_GRACE_S
        return self._hear(run, _no_place, start_s=start_s, silence_s=_OWN_SILENCE_S, is_late=False)

    def cancel(self, run: KeptRun) -> None:
        """Stop a run that is not over."""
        if run.outcome is None:
            self._bus.cancel(run.record.run_id)

    def _hear(
        self, run: KeptRun, give_back: GiveBack, *, start_s: float, silence_s: float, is_late: bool
    ) -> KeptRunInProgress:
        run_id, now = run.record.run_id, asyncio.get_running_loop().time()
        left_s = (run.deadline - datetime.now(UTC)).total_seconds()
        with ExitStack() as opened:
            opened.callback(give_back)
            inbox = self._waiting.open(run_id, kept=True)
            opened.callback(self._waiting.close, run_id, inbox)
            return KeptRunInProgress(
                run_id,
                inbox,
                start_limit=now + start_s,
                deadline=now + max(left_s, 0.0) + _LATE_START_S,
                silence_s=silence_s,
                is_late=is_late,
                look=partial(self._end_of, run),
                attach=partial(self._attach, run_id),
                not_taken=partial(not_taken, self._bus),
                close=opened.pop_all().close,
            )

    async def _end_of(self, run: KeptRun) -> RunEnded | None:
        found = await self._runs.find(run.record.user_id, run.record.run_id)
        if found is None:
            raise NotFoundError("no such run")
        return found.end


def _no_place() -> None:
    """Whoever asks for a run is counted by the runs that go on."""


def check_same(before: Idempotency | None, asked: Idempotency | None) -> None:
    """Raise ConflictError unless a request is the one that its key was used for before."""
    if before != asked:
        raise ConflictError("this Idempotency-Key was used for another request", detail=REUSED)


def is_free(before: KeptRun, now: datetime) -> bool:
    """Say whether a run's key may be used anew: no provider answered it, nobody will ever end it, or what
    became of it is not kept any more.
    """
    if before.outcome is None:
        return now > before.deadline + LOST_AFTER
    if before.end is None or before.outcome in _NEVER_CALLED:
        return True
    return before.end.error is not None and before.end.error.code in _AWAY
