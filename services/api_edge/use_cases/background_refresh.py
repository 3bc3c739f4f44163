"""What is remembered of others is read anew beside the requests: nobody waits for it."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.kernel.errors import PlatformError


class BackgroundRefresh:
    """Reads when it is asked and due, one reading at a time. `read` that raises a PlatformError has failed.

    It is due `every_s` after a reading began, `retry_s` (as long, unless told) after one that failed began.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[None]],
        *,
        every_s: float,
        retry_s: float | None = None,
        clock: Callable[[], float],
    ) -> None:
        self._read = read
        self._every_s = every_s
        self._retry_s = every_s if retry_s is None else retry_s
        self._clock = clock
        self._due_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    def __call__(self) -> None:
        now = self._clock()
        if now >= self._due_at and (self._reading is None or self._reading.done()):
            self._due_at = now + self._retry_s
            self._reading = asyncio.create_task(self._read_from(now))

    async def _read_from(self, began: float) -> None:
        try:
            await self._read()
        except PlatformError:
            return
        self._due_at = began + self._every_s
