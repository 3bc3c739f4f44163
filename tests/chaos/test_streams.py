"""Streams that are cut, and clients that go away: `make chaos ONLY=streams`."""

import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from tests.acceptance.house import House, running_house
from tests.chaos.cuts import cut_at, kill_the_edge_at
from tests.chaos.vanishing import vanish
from tests.quiet import quiet_check
from tests.realm import temporary_realm

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

CHUNKS = 200
PROMPT = f"[simulate chunks={CHUNKS} chunk_ms=5] tell me everything"


@pytest_asyncio.fixture
async def pair(servers: Servers, tmp_path: Path) -> AsyncIterator[House]:
    async with (
        temporary_realm(servers, tmp_path) as realm,
        running_house(realm, tmp_path, workers=1, edges=2, gated=False, log_level="INFO") as house,
    ):
        yield house


async def test_streams_cut_at_every_boundary(pair: House) -> None:
    """A 200-chunk answer, cut after each of its events, taken up at the same edge or the other."""
    caller = await pair.caller()
    await pair.grant(caller, 10_000_000_000)
    await caller.store_key("sk-sim-cuts-0011223344")
    other = await pair.caller_at(pair.urls[1], caller.user_id)
    await cut_at(pair, (caller, other), list(range(1, CHUNKS + 2)), PROMPT)
    assert pair.calls().with_key("sk-sim-cuts-0011223344") == CHUNKS + 1
    await quiet_check(pair.realm)


async def test_streams_of_killed_edges(pair: House) -> None:
    """The edge is killed in the middle of the answer, and started again."""
    caller = await pair.caller()
    await pair.grant(caller, 10_000_000_000)
    other = await pair.caller_at(pair.urls[1], caller.user_id)
    await kill_the_edge_at(pair, (caller, other), [1, 20, 60, 100, 150, 199], PROMPT.replace("=5]", "=10]"))
    await quiet_check(pair.realm)


async def test_streams_nobody_reads(pair: House) -> None:
    """500 clients vanish before, at and during the stream; the next 500 succeed."""
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"SEED={seed}")  # noqa: T201
    callers = [await pair.caller() for _ in range(5)]
    for caller in callers:
        await pair.grant(caller, 10_000_000_000)
    await vanish(pair, callers, 500, random.Random(seed))
    await quiet_check(pair.realm)
