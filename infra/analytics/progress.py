"""How far a reading is, said now and then."""

import time
from collections.abc import Callable
from typing import Final

from infra.analytics.window import Progress

_EVERY_S: Final = 2.0


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
