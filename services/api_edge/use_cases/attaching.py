"""Have runs told again, but not too often."""

import asyncio
from contextlib import suppress
from typing import Final
from uuid import UUID

from services.api_edge.ports import RunBus
from shared.kernel.errors import PlatformError

_PAUSE_S: Final = 1.0


class Attaching:
    """Asks for a run at once, then not for `pause_s`: who comes meanwhile is told with the next asking.

    Each makes a worker tell all of the run again, over a channel that all its runs share.
    """

    def __init__(self, bus: RunBus, *, pause_s: float = _PAUSE_S) -> None:
        self._bus = bus
        self._pause_s = pause_s
        self._asked: dict[UUID, int | None] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def __call__(self, run_id: UUID, from_seq: int) -> None:
        """Raise BusUnavailableError, unless the asking is yet to come."""
        if run_id in self._asked:
            before = self._asked[run_id]
            self._asked[run_id] = from_seq if before is None else min(before, from_seq)
            return
        self._asked[run_id] = None
        asyncio.get_running_loop().call_later(self._pause_s, self._rested, run_id)
        await self._bus.attach(run_id, from_seq)

    def _rested(self, run_id: UUID) -> None:
        from_seq = self._asked.pop(run_id)
        if from_seq is not None:
            task = asyncio.create_task(self._again(run_id, from_seq))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _again(self, run_id: UUID, from_seq: int) -> None:
        """Without the bus whoever hears nothing asks again."""
        with suppress(PlatformError):
            await self(run_id, from_seq)
