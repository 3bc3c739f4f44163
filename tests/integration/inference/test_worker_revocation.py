"""A key that is revoked while workers use it, on a real broker."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from infra.simulator.control import read_calls
from shared.contracts.runs import RunCompleted, RunFailed, RunRequested
from shared.kernel.names import KeySource, Outcome, TokensSource
from tests.integration.inference.house import (
    Billing,
    Edge,
    KeyVault,
    StartWorker,
    WorkerProcess,
    credential_id_of,
)

pytestmark = pytest.mark.integration

ARun = Callable[..., RunRequested]
USER, PLATFORM = KeySource.USER, KeySource.PLATFORM
MINE, OTHER, POOL = "canary-mine-0a1b2c3d", "canary-other-4e5f6a7b", "canary-pool-8c9d0e1f"


@dataclass
class Streaming:
    """Two workers with runs that stream for 3 s, some with one key, some with another."""

    workers: list[WorkerProcess]
    mine: list[RunRequested]
    others: list[RunRequested]


async def streaming(edge: Edge, runs: list[RunRequested]) -> None:
    """Ask, and wait until every run streams."""
    await asyncio.gather(*(edge.ask(run) for run in runs))
    async with asyncio.timeout(10):
        while not all("RunChunk" in edge.kinds(run.run_id) for run in runs):
            await asyncio.sleep(0.01)


@pytest.fixture
async def streams(edge: Edge, key_vault: KeyVault, a_run: ARun, start_worker: StartWorker) -> Streaming:
    workers = await asyncio.gather(*(start_worker(concurrency="10") for _ in range(2)))
    mine, others = (
        [a_run("[simulate chunks=60 chunk_ms=50]", stream=True) for _ in range(6)] for _ in range(2)
    )
    for secret, runs in ((MINE, mine), (OTHER, others)):
        key_vault.keys = [(USER, secret)]
        await streaming(edge, runs)
    key_vault.keys = [(USER, MINE), (PLATFORM, POOL)]
    return Streaming(workers, mine, others)


async def test_it_stops_within_a_second_on_every_worker_and_other_keys_go_on(
    edge: Edge, billing: Billing, key_vault: KeyVault, simulator: str, streams: Streaming
) -> None:
    mine, others = streams.mine, streams.others

    began = time.monotonic()
    await key_vault.revoke(MINE)
    ends = await asyncio.gather(*(edge.ended(run.run_id, within_s=1) for run in mine))
    async with asyncio.timeout(1 - (time.monotonic() - began)):
        while read_calls(simulator).in_flight > len(others):
            await asyncio.sleep(0.01)

    assert {end.error.code for end in ends if isinstance(end, RunFailed)} == {"user_api_key_invalid"}
    assert {end.error.detail for end in ends if isinstance(end, RunFailed)} == {"revoked"}
    seen = [await worker.until("key revoked", within_s=1) for worker in streams.workers]
    assert sum(line["runs_stopped"] for line in seen) == len(mine)
    assert all(line["runs_stopped"] for line in seen)
    for run in mine:
        [usage] = await billing.recorded(run.run_id)
        assert (usage.outcome, usage.tokens.source) == (Outcome.FAILED, TokensSource.ESTIMATED)
        assert usage.credential_id == str(credential_id_of(MINE))
    assert all([isinstance(await edge.ended(run.run_id), RunCompleted) for run in others])
    assert read_calls(simulator).with_key(POOL) == 0


async def test_an_answer_with_a_revoked_key_that_was_on_its_way_is_not_used(
    edge: Edge, key_vault: KeyVault, a_run: ARun, simulator: str, start_worker: StartWorker
) -> None:
    """As when another replica of key_vault had it from its memory."""
    worker = await start_worker()
    await key_vault.revoke(MINE)
    await worker.until("key revoked", within_s=1)
    key_vault.keys = [(USER, MINE)]

    end = await edge.ended(await edge.ask(a_run()))

    assert isinstance(end, RunFailed)
    assert (end.error.code, end.error.detail) == ("user_api_key_invalid", "revoked")
    assert read_calls(simulator).with_key(MINE) == 0


async def test_the_run_tells_of_every_key_it_used(
    edge: Edge, key_vault: KeyVault, billing: Billing, a_run: ARun, start_worker: StartWorker
) -> None:
    await start_worker()
    dead = [(PLATFORM, f"canary-broke-{number}") for number in range(5)]
    key_vault.keys = [(USER, "canary-bad-1"), *dead, (PLATFORM, POOL)]

    end = await edge.ended(run_id := await edge.ask(a_run()))

    assert isinstance(end, RunCompleted)
    usages = await billing.recorded(run_id, attempts=7)
    assert [(use.attempt, use.credential_id, use.outcome, use.error_code) for use in end.key_uses] == [
        (usage.attempt, usage.credential_id, usage.outcome, usage.error_code) for usage in usages
    ]
    assert [use.key_source for use in end.key_uses] == [USER, *[PLATFORM] * 6]
    assert [ask.attempt for ask in billing.asked] == [2, 3, 4, 5, 6, 7]
