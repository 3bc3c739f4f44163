"""When what is remembered of others is read anew."""

import asyncio

import pytest

from services.api_edge.use_cases.background_refresh import BackgroundRefresh
from shared.kernel.errors import ServiceUnavailableError

pytestmark = pytest.mark.unit


class Source:
    """Answers when released; fails while `error` is set."""

    def __init__(self) -> None:
        self.now, self.readings = 0.0, 0
        self.release = asyncio.Event()
        self.release.set()
        self.error: Exception | None = None

    async def read(self) -> None:
        self.readings += 1
        await self.release.wait()
        if self.error is not None:
            raise self.error

    async def asked_at(self, refresh: BackgroundRefresh, now: float) -> int:
        self.now = now
        refresh()
        await asyncio.sleep(0)
        return self.readings


async def test_it_reads_at_once_and_when_it_is_due() -> None:
    source = Source()
    refresh = BackgroundRefresh(source.read, every_s=10, clock=lambda: source.now)
    assert [await source.asked_at(refresh, now) for now in (0, 9, 10, 19, 20)] == [1, 1, 2, 2, 3]


async def test_what_failed_is_read_again_sooner() -> None:
    source = Source()
    refresh = BackgroundRefresh(source.read, every_s=10, retry_s=2, clock=lambda: source.now)
    source.error = ServiceUnavailableError("away")
    assert [await source.asked_at(refresh, now) for now in (0, 1, 2)] == [1, 1, 2]
    source.error = None
    assert [await source.asked_at(refresh, now) for now in (4, 6, 13, 14)] == [3, 3, 3, 4]


async def test_one_reading_at_a_time() -> None:
    source = Source()
    refresh = BackgroundRefresh(source.read, every_s=1, clock=lambda: source.now)
    source.release.clear()
    assert [await source.asked_at(refresh, now) for now in (0, 5, 9)] == [1, 1, 1]
    source.release.set()
    await asyncio.sleep(0)
    assert await source.asked_at(refresh, 9) == 2
