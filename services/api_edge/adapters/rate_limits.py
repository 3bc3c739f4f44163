"""Rates, by the library `limits`: a sliding window in this process's memory, per user."""

import asyncio
import time
from typing import Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from services.api_edge.domain.allowance import Allowance, Limited
from services.api_edge.domain.errors import OverLimitError

_LOOK_EVERY_S: Final = 10.0


class SlidingWindows:
    """Each edge counts for itself: with several, a user may do several times as much.

    `per_minute`: how many of what; 0 is no limit. `look_every_s`: for windows that are over.
    """

    def __init__(
        self,
        per_minute: dict[Limited, int],
        storage: MemoryStorage | None = None,
        *,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._storage = storage or MemoryStorage()
        self._windows = SlidingWindowCounterRateLimiter(self._storage)
        self._look_every_s = look_every_s
        self._resting: asyncio.Task[None] | None = None
        self._items = {
            limited: RateLimitItemPerMinute(amount) for limited, amount in per_minute.items() if amount
        }

    async def hit(self, limited: Limited, user_id: str) -> Allowance | None:
        item = self._items.get(limited)
        if item is None:
            return None
        passed = await self._windows.hit(item, limited, user_id)
        self._rest()
        stats = await self._windows.get_window_stats(item, limited, user_id)
        reset_s = stats.reset_time - time.time()
        allowance = Allowance(limited, item.amount, max(0, stats.remaining), reset_s, item.get_expiry())
        if not passed:
            raise OverLimitError(allowance)
        return allowance

    def _rest(self) -> None:
        """Its storage looks through the windows of all users for those that are over, with each hit, unless
        it is at that already. Let it seem so for a while.
        """
        if self._storage.timer is not self._resting:
            self._storage.timer = self._resting = asyncio.create_task(asyncio.sleep(self._look_every_s))
