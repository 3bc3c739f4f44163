"""A hundred streams open at once: all complete, and keep nobody else waiting. `make bench` has a thousand."""

import asyncio
from typing import Final

import pytest

from tests.acceptance.house import House
from tests.acceptance.open_streams import first_token_ms, read_stream, resident_mb

pytestmark = pytest.mark.acceptance

STREAMS: Final = 100
GROWTH_MAX_MB: Final = 100
_LONG: Final = "[simulate chunks=5 chunk_ms=700] slowly"


async def test_a_hundred_open_streams(house: House) -> None:
    caller, other = await house.caller(), await house.caller()
    for each in (caller, other):
        await each.store_key("sk-sim-hundred-00112233445566")
    before, opened = resident_mb(house), asyncio.Semaphore(0)
    streams = [asyncio.create_task(read_stream(caller, _LONG, opened, n / 200)) for n in range(STREAMS)]
    for _ in range(STREAMS):
        await opened.acquire()
    await first_token_ms(other)
    assert not all(stream.done() for stream in streams)
    during = resident_mb(house)
    assert all(await asyncio.gather(*streams))
    assert max(during[name] - mb for name, mb in before.items()) < GROWTH_MAX_MB
