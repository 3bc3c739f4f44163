"""What kept runs leave behind: answers nobody will ask for any more, runs of whose end nobody told, and what
councils would still have asked.
"""

from datetime import UTC, datetime, timedelta

from services.api_edge.ports import CouncilStore, RunStore
from services.api_edge.use_cases.follow_run import LOST_AFTER


class SweepRuns:
    """Any number of edges may do it at once."""

    def __init__(self, runs: RunStore, councils: CouncilStore, *, kept_for: timedelta) -> None:
        self._runs = runs
        self._councils = councils
        self._kept_for = kept_for

    async def __call__(self) -> None:
        """Raises DatabaseUnavailableError."""
        now = datetime.now(UTC)
        await self._runs.sweep(ended_before=now - self._kept_for, lost_before=now - LOST_AFTER)
        await self._councils.sweep(now)
