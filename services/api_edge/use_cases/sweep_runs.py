"""What kept runs leave behind: answers nobody will ask for any more, runs of whose end nobody told, and what
councils would still have asked.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from services.api_edge.ports import CouncilStore, RunStore

_LOST_AFTER: Final = timedelta(minutes=5)
"""How long after its deadline a run's end may still come: others judge first whether its worker is lost."""


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
        await self._runs.sweep(ended_before=now - self._kept_for, lost_before=now - _LOST_AFTER)
        await self._councils.sweep(now)
