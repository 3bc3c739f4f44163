"""Ends a process that no longer consumes what it should: a node loss can take consumers for good."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from shared.kernel.errors import BusUnavailableError
from shared.runtime.logs import get_logger

_MISSES_MAX: Final = 2


class QueueMissingError(BusUnavailableError):
    """The broker has no such queue."""


def end_process() -> None:
    """End this process in good order; whoever runs it starts it again."""
    os.kill(os.getpid(), signal.SIGTERM)


async def watch_consumers(
    consumers: Callable[[str], Awaitable[int]],
    queues: Sequence[str],
    *,
    every_s: float = 15,
    end: Callable[[], None] = end_process,
) -> None:
    """Call `end` once a queue has had no consumer at two looks in a row, while the broker answered."""
    misses = dict.fromkeys(queues, 0)
    while True:
        await asyncio.sleep(every_s)
        for queue in queues:
            try:
                misses[queue] = 0 if await consumers(queue) else misses[queue] + 1
            except QueueMissingError:
                get_logger().critical("a queue is missing that the bootstrap makes", queue=queue)
                misses[queue] = 0
            except BusUnavailableError:
                misses[queue] = 0
            if misses[queue] >= _MISSES_MAX:
                get_logger().critical("no consumer left; ending this process", queue=queue)
                end()
                return
