"""`latchkey usage export`: a window of the stream as a file, each event once."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from infra.analytics.checking import Checker, Event
from infra.analytics.columns import Row, row
from infra.analytics.seen import Seen
from infra.analytics.window import Window, events
from infra.analytics.writers import Writer, whole_file, writer
from infra.event_stream import EventStream
from infra.stream_reading import Meter, Progress


@dataclass
class Exported:
    """What an export made of the entries it read."""

    rows: int = 0
    repeats: int = 0
    left_out: int = 0


class Export:
    """Writes rows of events that were not written before."""

    def __init__(self, window: Window, checker: Checker) -> None:
        self._window = window
        self._checker = checker
        self._seen = Seen()
        self.done = Exported()

    def write(self, batch: list[Event], to: Writer) -> None:
        found = [event for event in batch if self._window.holds(event)]
        fresh = [event for event in found if self._seen.add(event.id)]
        self.done.repeats += len(found) - len(fresh)
        rows = [made for event in fresh if (made := self._row(event))]
        self.done.rows += len(rows)
        to.write(rows)

    def _row(self, event: Event) -> Row | None:
        try:
            return row(event)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            self._checker.leave_out(event.offset, f"its data is not as agreed: {error}")
            return None


async def export(
    stream: EventStream,
    window: Window,
    form: str,
    path: Path,
    checker: Checker,
    *,
    tell: Callable[[str], None],
) -> Exported:
    """Write a window's events to `path`. Raises StreamError, MissingLibraryError, OSError."""
    made, progress = Export(window, checker), Progress()
    meter = Meter(progress, tell)
    with whole_file(path) as file:
        to = writer(form, file)
        async with aclosing(events(stream, window, checker, progress, tell)) as batches:
            async for batch in batches:
                made.write(batch, to)
                meter.show(made.done.rows)
        to.close()
    made.done.left_out = checker.left_out
    meter.show(made.done.rows, is_last=True)
    return made.done
