import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext

import pytest
from structlog.testing import capture_logs

from shared.kernel.errors import BusUnavailableError
from shared.runtime.watchdog import QueueMissingError, watch_consumers

pytestmark = pytest.mark.unit


def _looks(answers: list[int | None]) -> Callable[[str], Awaitable[int]]:
    """Answer each look in turn; None is a broker that is away; past the end, one consumer for ever."""
    rest: Iterator[int | None] = iter(answers)

    async def consumers(_queue: str) -> int:
        answer = next(rest, 1)
        if answer is None:
            raise BusUnavailableError
        return answer

    return consumers


@pytest.mark.parametrize(
    ("answers", "ends"),
    [
        ([1, 1, 1], False),
        ([0, 1, 0, 1], False),
        ([0, None, 0], False),
        ([None, None, None], False),
        ([1, 0, 0], True),
    ],
)
async def test_it_ends_the_process_only_when_consumers_stay_away(
    answers: list[int | None], *, ends: bool
) -> None:
    ended: list[bool] = []
    watch = watch_consumers(_looks(answers), ["q"], every_s=0, end=lambda: ended.append(True))
    with pytest.raises(TimeoutError) if not ends else nullcontext():
        async with asyncio.timeout(0.05):
            await watch
    assert bool(ended) is ends


async def test_a_queue_that_is_missing_is_told_and_ends_nothing() -> None:
    ended: list[bool] = []
    looks = itertools.count()

    async def consumers(_queue: str) -> int:
        if next(looks) % 2:
            raise QueueMissingError
        return 0

    watch = watch_consumers(consumers, ["q"], every_s=0.01, end=lambda: ended.append(True))
    with capture_logs() as logs, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await watch
    assert (logs[0]["event"], logs[0]["queue"]) == ("a queue is missing that the bootstrap makes", "q")
    assert ended == []
