"""Waiting for what comes about by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Final

_FIRST_PAUSE_S: Final = 0.001
_PAUSE_S_MAX: Final = 0.02


async def until(condition: Callable[[], bool | Awaitable[bool]], within_s: float = 20) -> None:
    """Look again and again, soon at first, until it is so. Raises TimeoutError."""
    pause_s = _FIRST_PAUSE_S
    async with asyncio.timeout(within_s):
        while not await _is_so(condition()):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)


async def _is_so(answer: bool | Awaitable[bool]) -> bool:  # noqa: FBT001
    return await answer if isawaitable(answer) else answer
