"""The word that a run has begun: told when nothing else was said for a while."""

import asyncio
from collections.abc import Awaitable, Callable

Tell = Callable[[], Awaitable[None]]


class Beginning:
    """Most runs say something sooner, which says as much; for a message fewer is told of them.

    Nothing of whoever tells is kept for longer than the silence: a run would be kept in a cycle with it.
    """

    def __init__(self, *, silence_s: float) -> None:
        self._silence_s = silence_s
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None

    def of(self, tell: Tell) -> None:
        """An attempt has begun, of which `tell` tells; one before it has ended."""
        self.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._silence_s, self._start_telling, tell)

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

    def _start_telling(self, tell: Tell) -> None:
        self._timer = None
        self._telling = asyncio.ensure_future(tell())
