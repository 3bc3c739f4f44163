"""Chunks go out at once, in order, and gathered when they come fast."""

import asyncio

import pytest

from services.inference.use_cases.relay import ChunkRelay

pytestmark = pytest.mark.unit


class Wire:
    def __init__(self, delay_s: float = 0) -> None:
        self.sent: list[tuple[str, ...]] = []
        self._delay_s = delay_s

    async def send(self, chunks: tuple[str, ...]) -> None:
        self.sent.append(chunks)
        await asyncio.sleep(self._delay_s)


async def test_the_first_goes_at_once_and_the_next_are_gathered() -> None:
    wire = Wire()
    relay = ChunkRelay(wire.send, linger_s=0.02)

    for chunk in "abc":
        await relay.put(chunk, 1)
    assert wire.sent == [("a",)]
    await asyncio.sleep(0.05)

    assert wire.sent == [("a",), ("b", "c")]


async def test_the_first_is_written_before_the_rest_of_a_burst_is_read() -> None:
    written: list[tuple[str, ...]] = []

    async def send(chunks: tuple[str, ...]) -> None:
        asyncio.get_running_loop().call_soon(written.append, chunks)

    relay = ChunkRelay(send, linger_s=0)
    await relay.put("a", 1)
    assert written == [("a",)]
    await relay.put("b", 1)
    assert written == [("a",)]  # of many streams, each reads what has come before another's turn


async def test_slow_chunks_are_not_held_back() -> None:
    wire = Wire()
    relay = ChunkRelay(wire.send, linger_s=0.005)

    for chunk in "abc":
        await relay.put(chunk, 1)
        await asyncio.sleep(0.01)

    assert wire.sent == [("a",), ("b",), ("c",)]


async def test_the_end_waits_for_nothing_and_loses_nothing() -> None:
    wire = Wire()
    relay = ChunkRelay(wire.send, linger_s=10)

    for chunk in "abc":
        await relay.put(chunk, 1)
    await relay.finish()
    await relay.finish()

    assert wire.sent == [("a",), ("b", "c")]


async def test_a_slow_wire_keeps_the_order() -> None:
    wire = Wire(delay_s=0.01)
    relay = ChunkRelay(wire.send, linger_s=0.001)

    for chunk in "abcdefghij":
        await relay.put(chunk, 1)
        await asyncio.sleep(0.002)
    await relay.finish()

    assert "".join(chunk for chunks in wire.sent for chunk in chunks) == "abcdefghij"
