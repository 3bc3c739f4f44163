"""Rates, by the library `limits`: a sliding window in this process's memory, per user."""

import time

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from services.api_edge.domain.allowance import Allowance, Limited
from services.api_edge.domain.errors import OverLimitError


class SlidingWindows:
    """Each edge counts for itself: with several, a user may do several times as much.

    `per_minute`: how many of what; 0 is no limit.
    """

    def __init__(self, per_minute: dict[Limited, int]) -> None:
        self._windows = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._items = {
            limited: RateLimitItemPerMinute(amount) for limited, amount in per_minute.items() if amount
        }

    async def hit(self, limited: Limited, user_id: str) -> Allowance | None:
        item = self._items.get(limited)
        if item is None:
            return None
        passed = await self._windows.hit(item, limited, user_id)
        stats = await self._windows.get_window_stats(item, limited, user_id)
        reset_s = stats.reset_time - time.time()
        allowance = Allowance(limited, item.amount, max(0, stats.remaining), reset_s, item.get_expiry())
        if not passed:
            raise OverLimitError(allowance)
        return allowance
