"""The load generator and the upstream of the benchmark beside other gateways, over sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.bench.versus.load import Order, carry_out
from tests.bench.versus.upstream import Conversation
from tests.bench.versus.wire import Kind

pytestmark = pytest.mark.integration


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(Conversation, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("kind", Kind)
async def test_the_load_generator_gets_right_answers_from_the_upstream(kind: Kind) -> None:
    async with upstream() as url:
        taken = await carry_out(Order(f"{url}/v1/chat/completions", {}, "m", kind, clients=3, seconds=0.05))
    assert taken.faults == {}
    assert len(taken.took_ms) >= 3
    assert all(0 < first <= took for first, took in zip(taken.first_ms, taken.took_ms, strict=True))


async def test_who_does_not_answer_is_counted() -> None:
    async with upstream() as url:
        pass
    taken = await carry_out(Order(url, {}, "m", Kind.PLAIN, clients=1, seconds=0.03))
    assert taken.took_ms == []
    assert sum(taken.faults.values()) >= 1
