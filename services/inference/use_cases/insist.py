"""Patience with a database that is away: of a run, which is given up when its time is over."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.inference.use_cases.limits import Limits
from shared.kernel.errors import DatabaseUnavailableError

ResultT = TypeVar("ResultT")


def _go_on() -> None:
    return


async def insist(
    operation: Callable[[], Awaitable[ResultT]], limits: Limits, *, check: Callable[[], None] = _go_on
) -> ResultT:
    """Repeat, with growing pauses, until the database is back; `check` may raise to give up."""
    pause_s = limits.retry_pause_s
    while True:
        try:
            return await operation()
        except DatabaseUnavailableError:
            check()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, limits.retry_pause_max_s)
