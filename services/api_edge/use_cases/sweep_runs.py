"""What runs leave behind: answers nobody will ask for any more, kept runs of whose end nobody told, what
councils would still have asked, and, where operators want it so, runs and councils that are old.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from services.api_edge.ports import CouncilStore, RunStore
from services.api_edge.use_cases.follow_run import LOST_AFTER
from shared.kernel.ids import first_id_of

_AT_ONCE: Final = 2000
_BATCHES: Final = 30
"""In one sweep: more than an edge adds between two of them, and not all that years have left."""


class SweepRuns:
    """Any number of edges may do it at once."""

    def __init__(
        self,
        runs: RunStore,
        councils: CouncilStore,
        *,
        kept_for: timedelta,
        forgotten_after: timedelta | None = None,
    ) -> None:
        """`kept_for`: the answers of kept runs; `forgotten_after`: whose run it was, or None for never."""
        self._runs = runs
        self._councils = councils
        self._kept_for = kept_for
        self._forgotten_after = forgotten_after

    async def __call__(self) -> None:
        """Raises DatabaseUnavailableError."""
        now = datetime.now(UTC)
        await self._runs.sweep(ended_before=now - self._kept_for, lost_before=now - LOST_AFTER)
        await self._councils.sweep(now)
        if self._forgotten_after is not None:
            await self._forget(now - self._forgotten_after)

    async def _forget(self, before: datetime) -> None:
        for forget in (self._runs.forget, self._councils.forget):
            for _ in range(_BATCHES):
                if await forget(first_id_of(before), limit=_AT_ONCE) < _AT_ONCE:
                    break
