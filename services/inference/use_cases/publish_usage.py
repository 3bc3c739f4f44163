"""Usage events out. The attempt's row is the outbox: what has ended there is published, sooner or later."""

from collections import deque
from typing import Final
from uuid import UUID

from services.inference.ports import Outbox, UsageLog
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

    async def __call__(self, usage: UsageRecorded) -> None:
        """Return when the broker has confirmed it. Raises BusUnavailableError."""
        await self._usage_log.record(usage)
        self._unnoted.append(usage.usage_id)

    async def note(self) -> None:
        """Note what was published since. Raises DatabaseUnavailableError; the next call tries those again."""
        while self._unnoted:
            usage_ids = [self._unnoted.popleft() for _ in range(min(len(self._unnoted), _NOTED_AT_ONCE))]
            noted = False
            try:
                await self._outbox.note_published(usage_ids)
                noted = True
            finally:
                if not noted:
                    self._unnoted.extend(usage_ids)
