"""A thousand streams open at once, on one edge and one worker: what they take, and whom they delay."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Final

import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from tests.acceptance.house import House, running_house
from tests.acceptance.open_streams import first_token_ms, read_stream, resident_mb
from tests.realm import temporary_realm

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

STREAMS: Final = 1_000
CALLERS: Final = 4
STARTS_A_SECOND: Final = 50
GROWTH_MAX_MB: Final = 300
DELAY_MAX_MS: Final = 50
_PROBES: Final = 40
_LONG: Final = "[simulate chunks=12 chunk_ms=5000] slowly"
_IDLE_S: Final = "30"


@pytest_asyncio.fixture
async def bare_house(servers: Servers, tmp_path: Path) -> AsyncIterator[House]:
    async with (
        temporary_realm(servers, tmp_path) as realm,
        running_house(
            realm,
            tmp_path,
            workers=1,
            gated=False,
            log_level="INFO",
            env={"inference-1": {"LATCHKEY_PROVIDER_IDLE_TIMEOUT_S": _IDLE_S}},
        ) as house,
    ):
        yield house


async def test_a_thousand_open_streams(bare_house: House) -> None:
    house = bare_house
    probing = await house.caller()
    callers = [await house.caller() for _ in range(CALLERS)]
    for caller in (probing, *callers):
        await caller.store_key("sk-sim-many-00112233445566")
    await first_token_ms(probing)
    alone = median([await first_token_ms(probing) for _ in range(_PROBES)])
    before = resident_mb(house)
    opened = asyncio.Semaphore(0)
    open_ones = [
        asyncio.create_task(read_stream(callers[n % CALLERS], _LONG, opened, n / STARTS_A_SECOND))
        for n in range(STREAMS)
    ]
    for _ in range(STREAMS):
        await opened.acquire()
    among = median([await first_token_ms(probing) for _ in range(_PROBES)])
    during = resident_mb(house)
    whole = await asyncio.gather(*open_ones)
    complete = sum(whole)
    growth = {name: round(during[name] - mb) for name, mb in before.items()}
    sys.stdout.write(
        f"\n{STREAMS} open streams, one edge, one worker: {complete} complete"
        f"\n  resident memory grew by (MB): {growth}; {_verdict(max(growth.values()) < GROWTH_MAX_MB)}"
        f" {GROWTH_MAX_MB}"
        f"\n  first token of another run, p50: {alone:.1f} ms alone, {among:.1f} among them:"
        f" {_verdict(among - alone <= DELAY_MAX_MS)} {DELAY_MAX_MS} more\n"
    )
    assert complete == STREAMS


def _verdict(is_good: bool) -> str:  # noqa: FBT001
    return "within" if is_good else "MISSES"
