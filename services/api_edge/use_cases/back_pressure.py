"""A queue that is too long is told at once, and not by a timeout."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from shared.kernel.errors import PlatformError, ServiceUnavailableError
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
        self._looked_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Raise ServiceUnavailableError while too many runs wait, as was seen a moment ago."""
        now = self._clock()
        if now - self._looked_at > _LOOK_S and (self._looking is None or self._looking.done()):
            self._looked_at = now
            self._looking = asyncio.create_task(self._look())
        if self._seen > self._waiting_max and now - self._seen_at < _STALE_S:
            raise ServiceUnavailableError(
                "too many runs are waiting", service=INFERENCE, retry_after_s=_RETRY_S
            )

    async def _look(self) -> None:
        try:
            self._seen = await self._waiting()
        except PlatformError:
            return  # a bus that is away is told by those who publish
        self._seen_at = self._clock()
