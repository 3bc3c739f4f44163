"""What kept runs leave behind: answers nobody will ask for any more, runs of whose end nobody told, and what
councils would still have asked.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from services.api_edge.ports import CouncilStore, RunStore
from services.api_edge.use_cases.follow_run import LOST_AFTER


class SweepRuns:
    """Any number of edges may do it at once."""

    def __init__(
        self,
        runs: RunStore,
        councils: CouncilStore,
        *,
        kept_for: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._runs = runs
        self._councils = councils
        self._kept_for = kept_for
        self._now = now

    async def __call__(self) -> None:
        """Raises DatabaseUnavailableError."""
        now = self._now()
        await self._runs.sweep(ended_before=now - self._kept_for, lost_before=now - LOST_AFTER)
        await self._councils.sweep(now)
