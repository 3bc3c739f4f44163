"""A part of the stream by the events' own time, or by offset."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from infra.analytics.checking import Checker, Event
from infra.event_stream import FIRST, EventStream, Start
from infra.stream_reading import Progress, entries

LATE: Final = timedelta(days=1)
"""How long after its time an event may reach the stream and still be found (outboxes wait for a broker)."""
_SKEW: Final = timedelta(minutes=1)
_FLOOR: Final = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Window:
    """`start` ≤ event < `end`; without `end`, up to what is there now."""

    start: Start = FIRST
    end: datetime | None = None

    @property
    def _first_time(self) -> datetime | None:
        return self.start if isinstance(self.start, datetime) else None

    def holds(self, event: Event) -> bool:
        first = self._first_time
        return (first is None or event.time >= first) and (self.end is None or event.time < self.end)

    async def offsets(self, stream: EventStream) -> tuple[int, int]:
        """Return where to read: from an offset up to before another. Raises StreamError.

        The broker knows when an event reached it, the event when it was made: somewhat earlier, or a little
        later by another clock.
        """
        last = await stream.end()
        start = self.start if self._first_time is None else max(self._first_time, _FLOOR) - _SKEW
        first = await stream.find(start)
        if self.end is not None and self.end < datetime.now(UTC) - LATE:
            last = min(last, await stream.find(max(self.end, _FLOOR) + LATE))
        return first, last


async def events(
    stream: EventStream,
    window: Window,
    checker: Checker,
    progress: Progress,
    tell: Callable[[str], None],
) -> AsyncGenerator[list[Event], None]:
    """Yield in batches the events of the offsets that hold a window; keep `progress`. Raises StreamError."""
    progress.first, progress.last = await window.offsets(stream)
    async with aclosing(entries(stream, window.start, progress, tell)) as batches:
        async for batch in batches:
            yield [event for entry in batch if (event := checker.check(entry))]
    checker.conclude()
