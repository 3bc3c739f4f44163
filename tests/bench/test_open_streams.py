"""A thousand streams open at once, on one edge and one worker: what they take, and whom they delay."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Final

import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from tests.acceptance.callers import MODEL, Caller
from tests.acceptance.house import House, running_house
from tests.realm import temporary_realm

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

STREAMS: Final = 1_000
CALLERS: Final = 4
GROWTH_MAX_MB: Final = 300
DELAY_MAX_MS: Final = 50
_PROBES: Final = 40
_LONG: Final = "[simulate chunks=40 chunk_ms=1000] slowly"


@pytest_asyncio.fixture
async def bare_house(servers: Servers, tmp_path: Path) -> AsyncIterator[House]:
    async with (
        temporary_realm(servers, tmp_path) as realm,
        running_house(realm, tmp_path, workers=1, gated=False, log_level="INFO") as house,
    ):
        yield house


async def test_a_thousand_open_streams(bare_house: House) -> None:
    house = bare_house
    probing = await house.caller()
    callers = [await house.caller() for _ in range(CALLERS)]
    for caller in (probing, *callers):
        await caller.store_key("sk-sim-many-00112233445566")
    await _first_token_ms(probing)
    alone = median([await _first_token_ms(probing) for _ in range(_PROBES)])
    before = _resident_mb(house)
    opened = asyncio.Semaphore(0)
    open_ones = [asyncio.create_task(_stream(callers[n % CALLERS], opened, n / 200)) for n in range(STREAMS)]
    for _ in range(STREAMS):
        await opened.acquire()
    among = median([await _first_token_ms(probing) for _ in range(_PROBES)])
    during = _resident_mb(house)
    pieces = await asyncio.gather(*open_ones)
    growth = {name: round(during[name] - mb) for name, mb in before.items()}
    sys.stdout.write(
        f"\n{STREAMS} open streams, one edge, one worker: {sum(n > 0 for n in pieces)} complete"
        f"\n  resident memory grew by (MB): {growth}; {_verdict(max(growth.values()) < GROWTH_MAX_MB)}"
        f" {GROWTH_MAX_MB}"
        f"\n  first token of another run, p50: {alone:.1f} ms alone, {among:.1f} among them:"
        f" {_verdict(among - alone <= DELAY_MAX_MS)} {DELAY_MAX_MS} more\n"
    )


async def _stream(caller: Caller, opened: asyncio.Semaphore, after_s: float) -> int:
    """Read a long answer; return in how many pieces it came, 0 when it did not come whole."""
    await asyncio.sleep(after_s)
    pieces, last = 0, b""
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": _LONG}]}
    async with caller.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for data in answer.aiter_raw():
            if not pieces:
                opened.release()
            pieces, last = pieces + 1, data
    return pieces if last.endswith(b"[DONE]\n\n") else 0


async def _first_token_ms(caller: Caller) -> float:
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "quickly"}]}
    began = time.perf_counter()
    async with caller.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        pieces = aiter(answer.aiter_raw())
        await anext(pieces)
        took = time.perf_counter() - began
        async for _ in pieces:
            pass
    return took * 1000


def _resident_mb(house: House) -> dict[str, float]:
    return {name: _rss_mb(part.pid) for name, part in house.parts.items() if name != "simulator"}


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kb,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kb) / 1024


def _verdict(is_good: bool) -> str:  # noqa: FBT001
    return "within" if is_good else "MISSES"
