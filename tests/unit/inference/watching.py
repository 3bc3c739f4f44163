"""What tests of a run wait for, and read at its end."""

import asyncio
from collections.abc import Callable

from shared.contracts.runs import RunFailed
from tests.fakes.inference import Worker


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not condition():
            await asyncio.sleep(0.001)


def failure(worker: Worker) -> RunFailed:
    """Return the last word, which is a failure."""
    last = worker.audience.told[-1]
    assert isinstance(last, RunFailed)
    return last
