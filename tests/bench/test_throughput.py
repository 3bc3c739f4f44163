"""What the house does a second, how long a run takes, and what it costs each service. Prints; holds nothing.

The caller is OpenAI's protocol over one HTTP client in the test's own process, on the same machine.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Final

import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from tests.acceptance.callers import Caller
from tests.acceptance.house import House, running_house
from tests.bench.cpu import cpu_ms
from tests.realm import temporary_realm

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

AT_ONCE: Final = 32
WARM_UP: Final = 64
Ask = Callable[[Caller], Awaitable[None]]


@dataclass(frozen=True)
class Load:
    """A kind of run, and how many of them."""

    name: str
    runs: int
    ask: Ask


async def own_key(caller: Caller) -> None:
    (await caller.ask("how fast are you?")).raise_for_status()


async def platform(caller: Caller) -> None:
    (await caller.ask("how fast?", flow="deep_analysis", max_tokens=50)).raise_for_status()


async def streamed(caller: Caller) -> None:
    (await caller.ask("[simulate chunks=30] how fast are you?", stream=True)).raise_for_status()


LOADS: Final = (
    Load("own key, plain", 1000, own_key),
    Load("platform key, plain", 1000, platform),
    Load("own key, streamed (30 chunks)", 500, streamed),
)


@pytest_asyncio.fixture
async def bare_house(servers: Servers, tmp_path: Path) -> AsyncIterator[House]:
    """One process a service, no gates."""
    async with (
        temporary_realm(servers, tmp_path) as realm,
        running_house(realm, tmp_path, workers=1, gated=False, log_level="INFO") as house,
    ):
        yield house


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
async def test_throughput(bare_house: House, load: Load) -> None:
    caller = await bare_house.caller()
    if load.ask is platform:
        await bare_house.grant(caller, 1_000_000_000)
    else:
        await caller.store_key("sk-sim-fast-00112233445566")
    await repeat(load.ask, caller, WARM_UP)
    before = spent(bare_house)

    start = time.perf_counter()
    took_ms = await repeat(load.ask, caller, load.runs)
    elapsed = time.perf_counter() - start

    await asyncio.sleep(1)  # what is still being settled belongs to these runs
    per_run = {name: (after - before[name]) / load.runs for name, after in spent(bare_house).items()}
    report(load, elapsed, took_ms, per_run)


def report(load: Load, elapsed: float, took_ms: list[float], spent: dict[str, float]) -> None:
    cuts = quantiles(took_ms, n=100)
    cpu = ", ".join(f"{name} {ms:.2f}" for name, ms in spent.items())
    sys.stdout.write(
        f"\n{load.name}: {load.runs} runs, {AT_ONCE} at once\n"
        f"  {load.runs / elapsed:.0f} runs/s; p50 {cuts[49]:.0f}, p95 {cuts[94]:.0f}, p99 {cuts[98]:.0f} ms\n"
        f"  CPU ms per run: {cpu}\n"
    )


async def repeat(ask: Ask, caller: Caller, runs: int) -> list[float]:
    """Ask so often, `AT_ONCE` at a time; return how long each took, in ms."""
    left = iter(range(runs))
    took: list[float] = []

    async def one_after_another() -> None:
        for _ in left:
            start = time.perf_counter()
            await ask(caller)
            took.append((time.perf_counter() - start) * 1000)

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
    return took


def spent(house: House) -> dict[str, float]:
    """CPU time of each process so far, in ms; the caller's own too."""
    pids = {name: part.pid for name, part in house.parts.items()} | {"caller": os.getpid()}
    return {name: cpu_ms(pid) for name, pid in pids.items()}
