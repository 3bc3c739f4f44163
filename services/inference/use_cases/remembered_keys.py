"""A user's stored key, remembered for a moment: runs that come together ask key_vault once."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from services.inference.ports import KeyResolver, ResolvedKey
from shared.contracts.runs import RunRequested

_FRESH_S: Final = 0.25
"""From when it was asked for. So long a key may still be used after Vault was sealed."""
_KEPT_MAX: Final = 10_000

_Place: TypeAlias = tuple[str, str, str, str, bool]


class RememberedKeys:
    """Only keys that lie stored, and are the user's: the platform's go round, and their marks are heeded.

    `clock` in seconds. What is told of a user's keys makes everything of theirs forgotten. Who asks together
    is answered within `timeout_s`, however short the time of the first of them: each has a deadline of its
    own. No frame has an asking in a variable: its error would hold the frame, and that the error and the run.
    """

    def __init__(
        self, resolver: KeyResolver, *, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._clock = clock
        self._kept: OrderedDict[_Place, tuple[float, ResolvedKey]] = OrderedDict()
        self._asking: dict[_Place, asyncio.Task[ResolvedKey]] = {}
        self._forgotten: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    async def resolve(
        self, request: RunRequested, attempt: int, *, excluding: tuple[str, ...], timeout_s: float
    ) -> ResolvedKey:
        """As `KeyResolver` does."""
        place = _place(request)
        if excluding or place is None:
            return await self._resolver.resolve(request, attempt, excluding=excluding, timeout_s=timeout_s)
        if (known := self._known(place)) is not None:
            return known
        if place in self._asking:
            key = await asyncio.shield(self._asking[place])
            if key.used.source.is_stored:
                return key
            return await self._resolver.resolve(request, attempt, excluding=(), timeout_s=timeout_s)
        return await asyncio.shield(self._ask(place, request, attempt))

    def forget(self, user_id: str) -> None:
        """Something about this user's keys or consent has changed."""
        self._forgotten[user_id] += 1
        for place in [place for place in self._kept if place[0] == user_id]:
            del self._kept[place]
        for place in [place for place in self._asking if place[0] == user_id]:
            del self._asking[place]
        if len(self._forgotten) > _KEPT_MAX:
            self._forgotten.clear()

    def _known(self, place: _Place) -> ResolvedKey | None:
        asked_at, key = self._kept.get(place, (float("-inf"), None))
        return key if self._clock() - asked_at < _FRESH_S else None

    def _ask(self, place: _Place, request: RunRequested, attempt: int) -> "asyncio.Task[ResolvedKey]":
        task = asyncio.create_task(self._asked(place, request, attempt))
        task.add_done_callback(_heard)
        self._asking[place] = task
        return task

    async def _asked(self, place: _Place, request: RunRequested, attempt: int) -> ResolvedKey:
        asked_at, forgotten = self._clock(), self._forgotten[request.user_id]
        try:
            key = await self._resolver.resolve(request, attempt, excluding=(), timeout_s=self._timeout_s)
        finally:
            if self._asking.get(place) is asyncio.current_task():
                del self._asking[place]
        if key.used.source.is_stored and forgotten == self._forgotten[request.user_id]:
            self._keep(place, asked_at, key)
        return key

    def _keep(self, place: _Place, asked_at: float, key: ResolvedKey) -> None:
        self._kept[place] = (asked_at, key)
        self._kept.move_to_end(place)
        while self._kept and (
            len(self._kept) > _KEPT_MAX or self._clock() - next(iter(self._kept.values()))[0] > _FRESH_S
        ):
            self._kept.popitem(last=False)


def _heard(task: "asyncio.Task[ResolvedKey]") -> None:
    """Whoever waits raises it; when all have gone, nobody needs to."""
    if not task.cancelled():
        task.exception()


def _place(request: RunRequested) -> _Place | None:
    """Return what a key is remembered for; None when it comes with the request, or is never the user's."""
    sent = request.request_key or request.further_keys or request.session_key
    if sent or not request.policy.takes_own_keys:
        return None
    return request.user_id, request.provider, request.flow, request.policy, request.report_only
