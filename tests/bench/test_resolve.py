"""What it takes to resolve a key, beside an echo over the same bus and client. Prints; holds nothing."""

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import Final

import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from shared.contracts.resolving import KeyResolved, ResolveKey
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, INFERENCE, KEY_VAULT, KeyPolicy, KeyService
from shared.runtime.bus import Bus
from shared.runtime.sealing import KeyPair
from tests.acceptance.house import eventually
from tests.integration.key_vault.clients import Edge
from tests.nursery import nursery
from tests.parts import Part
from tests.realm import TestRealm, temporary_realm

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

CALLS: Final = 3000
WARM_UP: Final = 200
RATIO_MAX: Final = 2.0


@pytest_asyncio.fixture
async def realm(servers: Servers, tmp_path: Path) -> AsyncIterator[TestRealm]:
    async with temporary_realm(servers, tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def client(realm: TestRealm) -> AsyncIterator[Bus]:
    bus = realm.bus(INFERENCE)
    await bus.start()
    yield bus
    await bus.stop()


@pytest.mark.parametrize("at_once", [1, 32])
async def test_resolving_beside_an_echo(realm: TestRealm, client: Bus, tmp_path: Path, at_once: int) -> None:
    user = f"user-{secrets.token_hex(4)}"
    ask = _asking(client, user)
    async with _running(realm, "tests.bench.echo", tmp_path):
        echoed = await _measure(ask, at_once)
    async with _running(realm, "services.key_vault.app", tmp_path):
        await _store(realm, user)
        resolved = await _measure(ask, at_once)
    _report(at_once, echoed, resolved)


def _asking(client: Bus, user: str) -> Callable[[], Awaitable[object]]:
    pair = KeyPair.generate()

    async def ask() -> KeyResolved:
        query = ResolveKey(
            run_id=new_id(),
            attempt=1,
            user_id=user,
            flow="chat",
            policy=KeyPolicy.USER_KEY_REQUIRED,
            provider=KeyService.OPENAI,
            worker_public_key=pair.public_key,
        )
        return await client.rpc.call(query, KeyResolved, timeout_s=10)

    return ask


@asynccontextmanager
async def _running(realm: TestRealm, module: str, folder: Path) -> AsyncIterator[None]:
    """One service process in key_vault's place, ready."""
    env = {"LATCHKEY_ENV_FILE": str(realm.env_dir / f"{KEY_VAULT}.env")}
    async with nursery() as parents:
        part = Part(parents, module, module, env=env, log=folder / f"{module}.log")

        async def is_ready() -> bool:
            return '"ready"' in part.log_of_this_life()

        await part.start()
        try:
            await eventually(is_ready, f"{module} is ready")
            yield
        finally:
            await part.stop()


async def _store(realm: TestRealm, user: str) -> None:
    edge = realm.bus(API_EDGE)
    await edge.start()
    try:
        await Edge(edge, realm.public_key).keep(f"sk-sim-{secrets.token_hex(8)}", user_id=user)
    finally:
        await edge.stop()


async def _measure(ask: Callable[[], Awaitable[object]], at_once: int) -> list[float]:
    await _repeat(ask, WARM_UP, at_once)
    return await _repeat(ask, CALLS, at_once)


async def _repeat(ask: Callable[[], Awaitable[object]], calls: int, at_once: int) -> list[float]:
    """Call so often, so many at a time; return how long each took, in ms."""
    left = iter(range(calls))
    took: list[float] = []

    async def one_after_another() -> None:
        for _ in left:
            start = time.perf_counter()
            await ask()
            took.append((time.perf_counter() - start) * 1000)

    await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    return took


def _report(at_once: int, echoed: list[float], resolved: list[float]) -> None:
    echo, resolve = quantiles(echoed, n=100), quantiles(resolved, n=100)
    ratio = resolve[49] / echo[49]
    verdict = "within" if ratio <= RATIO_MAX else "OVER"
    sys.stdout.write(
        f"\nresolve-key RPC, {at_once} at once, {CALLS} calls\n"
        f"  echo:    p50 {echo[49]:.2f}, p95 {echo[94]:.2f}, p99 {echo[98]:.2f} ms\n"
        f"  resolve: p50 {resolve[49]:.2f}, p95 {resolve[94]:.2f}, p99 {resolve[98]:.2f} ms (warm)\n"
        f"  p50 is {ratio:.2f} times the echo's: {verdict} {RATIO_MAX:.0f}\n"
    )
