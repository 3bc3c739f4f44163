"""Work that nobody asks for by message."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from shared.kernel.errors import PlatformError
from shared.runtime.logs import get_logger

_CANCEL_AGAIN_S: Final = 5.0
_CANCELS: Final = 3


class Repeating:
    """Does `job` when woken, and every `every_s` at the latest. What fails is logged and done again."""

    def __init__(self, name: str, job: Callable[[], Awaitable[object]], *, every_s: float) -> None:
        self._name = name
        self._job = job
        self._every_s = every_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        while True:
            await self._once()
            await self._rest()

    async def _once(self) -> None:
        self._woken.clear()
        try:
            await self._job()
        except PlatformError as error:
            get_logger().warning("background job failed", job=self._name, code=error.code)
        except Exception:  # noqa: BLE001 - one bad round does not end the service
            get_logger().exception("background job failed", job=self._name)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._every_s):
                await self._woken.wait()


@asynccontextmanager
async def in_background(*jobs: Repeating) -> AsyncIterator[None]:
    """Keep the jobs running while in the context."""
    tasks = [asyncio.create_task(job.run()) for job in jobs]
    try:
        yield
    finally:
        await _end(tasks)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel them; again, and then not any more, if they do not heed it: libraries can keep a cancel for
    themselves, as `wait_for` does.
    """
    for _ in range(_CANCELS):
        if left := [task for task in tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
