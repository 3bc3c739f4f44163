"""What a worker holds of answers in memory, and its bound: of kept runs all pieces, else whole answers."""

from collections.abc import Iterator
from contextlib import contextmanager


class AnswerMemory:
    """Counts bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = 0

    @contextmanager
    def share(self) -> Iterator["AnswerShare"]:
        """One run's part; given back at its end."""
        share = AnswerShare(self)
        try:
            yield share
        finally:
            self._held -= share.held

    def has_room(self, size: int) -> bool:
        return self._held + size <= self._bytes_max

    def hold(self, size: int) -> None:
        self._held += size


class AnswerShare:
    """What one run holds."""

    def __init__(self, memory: AnswerMemory) -> None:
        self._memory = memory
        self.held = 0

    def has_room(self, size: int) -> bool:
        """Whether it could hold so much more: who would need more than is left fails, not all the others."""
        return self._memory.has_room(size)

    def hold(self, size: int) -> None:
        self.held += size
        self._memory.hold(size)
