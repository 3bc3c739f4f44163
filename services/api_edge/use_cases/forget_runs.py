"""Runs and councils that are older than operators want them kept."""

from datetime import UTC, datetime, timedelta
from typing import Final

from services.api_edge.ports import CouncilStore, RunStore
from shared.kernel.ids import first_id_of

_AT_ONCE: Final = 2000
_BATCHES: Final = 30
"""In one go: more than an edge adds between two of them, and not all that years have left."""


class ForgetRuns:
    """Any number of edges may do it at once. `after`: what is younger stays."""

    def __init__(self, runs: RunStore, councils: CouncilStore, *, after: timedelta) -> None:
        self._runs = runs
        self._councils = councils
        self._after = after

    async def __call__(self) -> None:
        """Councils first, which name runs. Raises DatabaseUnavailableError."""
        before = first_id_of(datetime.now(UTC) - self._after)
        for forget in (self._councils.forget, self._runs.forget):
            for _ in range(_BATCHES):
                if await forget(before, limit=_AT_ONCE) < _AT_ONCE:
                    break
