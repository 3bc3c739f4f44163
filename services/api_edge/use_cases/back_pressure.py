"""A queue that is too long is told at once, and not by a timeout."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from services.api_edge.use_cases.background_refresh import BackgroundRefresh
from shared.kernel.errors import ServiceUnavailableError
from shared.kernel.names import INFERENCE

_LOOK_S: Final = 1.0
_STALE_S: Final = 5.0
_RETRY_S: Final = 2.0


class BackPressure:
    """Looks at the queue beside the runs that are started, once a second. `waiting`: how many are in it."""

    def __init__(
        self,
        waiting: Callable[[], Awaitable[int]],
        *,
        waiting_max: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting = waiting
        self._waiting_max = waiting_max
        self._clock = clock
        self._seen = 0
        self._seen_at = float("-inf")
        self._refresh = BackgroundRefresh(self._look, every_s=_LOOK_S, clock=clock)

    def check(self) -> None:
        """Raise ServiceUnavailableError while too many runs wait, as was seen a moment ago."""
        self._refresh()
        if self._seen > self._waiting_max and self._clock() - self._seen_at < _STALE_S:
            raise ServiceUnavailableError(
                "too many runs are waiting", service=INFERENCE, retry_after_s=_RETRY_S
            )

    async def _look(self) -> None:
        """A bus that is away is told by those who publish."""
        self._seen = await self._waiting()
        self._seen_at = self._clock()
