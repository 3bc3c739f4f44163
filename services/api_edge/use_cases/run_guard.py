"""What may be started now: so much at once, and nothing while too many wait already."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from services.api_edge.domain.chat import OpenAICall
from services.api_edge.domain.sizes import Sizes
from services.api_edge.use_cases.back_pressure import BackPressure
from services.api_edge.use_cases.places import GiveBack, Places
from shared.kernel.errors import DatabaseUnavailableError

_TURN_S: Final = 5.0


class RunGuard:
    """`at_once_max`: runs of one user, 0 for no limit: those that are waited for at this edge, and those
    that are kept, at all edges together.
    """

    def __init__(self, back_pressure: BackPressure, sizes: Sizes, *, at_once_max: int) -> None:
        self._back_pressure = back_pressure
        self._sizes = sizes
        self._at_once_max = at_once_max
        self._places = Places(at_once_max)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def check(self, call: OpenAICall) -> None:
        """Raise ServiceUnavailableError when too many runs wait, BadInputError for too large a call."""
        self._back_pressure.check()
        self._sizes.check(call)

    def take_place(self, user_id: str) -> GiveBack:
        """Return what gives the place back, however often it is called. Raises OverLimitError."""
        return self._places.take(user_id)

    @asynccontextmanager
    async def turn(self, user_id: str) -> AsyncIterator[int]:
        """Let a user's runs be kept here one after another, so that each is counted with all before it; give
        how many may go on at once. Kept runs go on without their client, so they are counted where they are
        kept, and each further edge may be keeping one that is not counted yet.

        Raises DatabaseUnavailableError when those before it take too long.
        """
        if not self._at_once_max:
            yield 0
            return
        lock = self._turns.setdefault(user_id, asyncio.Lock())
        try:
            async with asyncio.timeout(_TURN_S):
                await lock.acquire()
        except TimeoutError:
            raise DatabaseUnavailableError(service="postgres", retry_after_s=2) from None
        try:
            yield self._at_once_max
        finally:
            lock.release()
