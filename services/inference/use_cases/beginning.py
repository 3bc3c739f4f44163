"""The word that a run has begun: told when nothing else was said for a while."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.kernel.names import KeySource

Tell = Callable[[int, KeySource], Awaitable[None]]


class Beginning:
    """Most runs say something sooner, which says as much; for a message fewer is told of them."""

    def __init__(self, tell: Tell, *, silence_s: float) -> None:
        self._tell = tell
        self._silence_s = silence_s
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None

    def of(self, attempt: int, source: KeySource) -> None:
        """An attempt has begun; one before it has ended."""
        self.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._silence_s, self._start_telling, attempt, source)

    async def settle(self) -> None:
        """Something else is about to be told, after the word if that is on its way."""
        self.cancel()
        if self._telling is not None:
            await asyncio.wait({self._telling})  # a stop of whoever waits here is none of the word

    def cancel(self) -> None:
        """Nobody is to be told any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_telling(self, attempt: int, source: KeySource) -> None:
        self._telling = asyncio.ensure_future(self._tell(attempt, source))
