"""What has ended, out: usage events, and the ends of kept runs. The database is the outbox: what has ended
there is published, sooner or later.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from services.inference.ports import Outbox, UsageLog
from shared.contracts.runs import RunEnded
from shared.contracts.usage import UsageRecorded

_NOTED_AT_ONCE: Final = 1_000
_UNNOTED_MAX: Final = 100_000


class PublishUsage:
    """Publishes at once, and remembers what is to be noted in the row: that is done for many together.

    What is published and never noted (a kill, a full memory), a sweep publishes again: told by its id.
    """

    def __init__(self, usage_log: UsageLog, outbox: Outbox) -> None:
        self._usage_log = usage_log
        self._outbox = outbox
        self._unnoted: deque[UUID] = deque(maxlen=_UNNOTED_MAX)
        self._undropped: deque[UUID] = deque(maxlen=_UNNOTED_MAX)

    async def __call__(self, usage: UsageRecorded) -> None:
        """Return when the broker has confirmed it. Raises BusUnavailableError."""
        await self._usage_log.record(usage)
        self._unnoted.append(usage.usage_id)

    async def end(self, end: RunEnded) -> None:
        """Return when the broker has confirmed it. Raises BusUnavailableError."""
        await self._usage_log.record_end(end)
        self._undropped.append(end.run_id)

    async def note(self) -> None:
        """Note what was published since. Raises DatabaseUnavailableError; the next call tries those again."""
        await _hand_over(self._unnoted, self._outbox.note_published)
        await _hand_over(self._undropped, self._outbox.drop_ends)


async def _hand_over(waiting: deque[UUID], note: Callable[[Sequence[UUID]], Awaitable[None]]) -> None:
    while waiting:
        ids = [waiting.popleft() for _ in range(min(len(waiting), _NOTED_AT_ONCE))]
        noted = False
        try:
            await note(ids)
            noted = True
        finally:
            if not noted:
                waiting.extend(ids)
