"""Reading a stream between two offsets, and how far that is, said now and then."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from infra.event_stream import FIRST, Entry, EventStream, Start

_EVERY_S: Final = 2.0


@dataclass
class Progress:
    """How far a reading has come."""

    first: int = 0
    last: int = 0
    at: int = 0


class Meter:
    """Tells count, rate and position, every two seconds at most, and at the end."""

    def __init__(self, progress: Progress, tell: Callable[[str], None]) -> None:
        self._progress = progress
        self._tell = tell
        self._begun = self._told = time.monotonic()

    def show(self, count: int, *, is_last: bool = False) -> None:
        now = time.monotonic()
        if not is_last and now - self._told < _EVERY_S:
            return
        self._told = now
        rate = (self._progress.at - self._progress.first) / max(now - self._begun, 1e-6)
        self._tell(f"{count:,} events, {rate:,.0f}/s, {self._position()}")

    def _position(self) -> str:
        whole = self._progress.last - self._progress.first
        share = (self._progress.at - self._progress.first) / whole if whole > 0 else 1.0
        return f"offset {self._progress.at:,} of {max(self._progress.last, 0):,} ({share:.0%})"


async def entries(
    stream: EventStream, start: Start, progress: Progress, tell: Callable[[str], None]
) -> AsyncGenerator[list[Entry], None]:
    """Yield in batches what is at the offsets of `progress`, which begin at `start`; keep how far it is."""
    progress.at = progress.first
    await _tell_of_retention(stream, start, progress, tell)
    async with aclosing(stream.read(progress.first, progress.last)) as batches:
        async for batch in batches:
            progress.at = batch[-1].offset + 1
            yield batch


async def _tell_of_retention(
    stream: EventStream, start: Start, progress: Progress, tell: Callable[[str], None]
) -> None:
    is_cut = isinstance(start, datetime) and 0 < progress.first < progress.last
    if is_cut and await stream.find(FIRST) == progress.first:
        tell(f"the stream begins at offset {progress.first}: what was before is no longer kept")
