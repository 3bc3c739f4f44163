"""What is large goes one at a time."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext


class LargeTurns:
    """For what takes several copies of itself while it goes. `large_chars`: more than that is large."""

    def __init__(self, large_chars: int) -> None:
        self._large_chars = large_chars
        self._large = asyncio.Lock()

    def turn(self, chars: int) -> AbstractAsyncContextManager[object]:
        """Return what waits for the others that are large; nothing waits that is not."""
        return self._large if chars > self._large_chars else nullcontext()
