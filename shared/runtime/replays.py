"""No request is done twice because somebody sent it again, and none that nobody waits for any more."""

import time
from collections.abc import Callable
from typing import Final

from shared.kernel.errors import ConflictError, InvalidRequestError, ServiceUnavailableError
from shared.runtime.delivery import Delivery

WINDOW_S: Final = 60.0
"""How far a request's time may be from ours: clocks differ, and callers give up long before."""
_REMEMBERED_MAX: Final = 200_000


class Replays:
    """What this process was asked lately. `clock`: seconds since the epoch.

    A request is remembered until it would be refused for its age, so a copy of it is always refused. Beyond
    `remembered_max` the oldest are forgotten first. Ask about requests of a known sender only: nobody else's
    can use up its ids.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.time, remembered_max: int = _REMEMBERED_MAX
    ) -> None:
        self._clock = clock
        self._remembered_max = remembered_max
        self._until: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def check(self, delivery: Delivery) -> None:
        """Let a request pass once; again only when the broker itself delivers it again.

        Raises InvalidRequestError when its time is too far off, ConflictError when it was here before, and
        ServiceUnavailableError when its caller has given up: the broker drops what waits in its queue, but a
        process that stood still finds what it had been handed, and meanwhile its user may have decided anew.
        """
        now, sent = self._clock(), delivery.envelope.time.timestamp()
        if abs(now - sent) > WINDOW_S:
            raise InvalidRequestError("the request's time is too far off")
        if delivery.ttl_s is not None and now - sent > delivery.ttl_s:
            raise ServiceUnavailableError("the request came too late: nobody waits for it any more")
        self._forget(now)
        seen = (delivery.sender, delivery.envelope.id)
        if seen in self._until and not delivery.redelivered:
            raise ConflictError("the request was answered before")
        self._until[seen] = sent + WINDOW_S

    def _forget(self, now: float) -> None:
        """Forget from the oldest on. One from a clock that is ahead holds back those behind it a little."""
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] >= now and len(self._until) < self._remembered_max:
                return
            del self._until[oldest]
