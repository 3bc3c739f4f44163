"""A council over real RabbitMQ and Postgres: the bus is away just when its last run is to be asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.api_edge.adapters.postgres import Database
from services.api_edge.adapters.postgres_runs import PostgresRunStore
from shared.contracts.runs import RunEnded, RunRequested
from shared.kernel.names import API_EDGE, KeySource, Outcome
from shared.runtime.publisher import TIMEOUT_S
from tests.fakes.api_edge_worker import chunk
from tests.gate import Gate, Gates
from tests.integration.api_edge.house import House
from tests.realm import PoolFor
from tests.waiting import until

pytestmark = pytest.mark.integration

Mint = Callable[..., Awaitable[str]]
USER = "alice"
LAST = "openai/gpt-4o"
BODY: dict[str, Any] = {
    "members": ["openai/gpt-4o-mini", "openai/gpt-4.1"],
    "model": LAST,
    "messages": [{"role": "user", "content": "2 + 2?"}],
}
REFUSED_S, UNCONFIRMED_S = 1.5, TIMEOUT_S + 1.5
"""Long enough for the synthesis to be asked for in vain: a publish that nobody confirms is given up late."""
KEY = {"X-OpenAI-Key": "sk-canary-council-01"}


def told_in_the_end(run: RunRequested) -> RunEnded:
    return RunEnded(
        run_id=run.run_id,
        user_id=run.user_id,
        outcome=Outcome.COMPLETED,
        key_source=KeySource.REQUEST,
        chunks=(chunk(f"I am {run.model}"),),
        ended_at=datetime.now(UTC),
    )


def asked_last(house: House) -> list[RunRequested]:
    return [run for run in house.worker.requested if run.model == LAST]


@pytest.mark.parametrize("frozen", [False, True])
async def test_the_bus_is_away_when_the_synthesis_is_to_be_asked_for(
    house: House, mint: Mint, gates: Gates, pool_for: PoolFor, *, frozen: bool
) -> None:
    runs = PostgresRunStore(Database(await pool_for(API_EDGE)))

    async def ends(run: RunRequested) -> None:
        await runs.end([told_in_the_end(run)])

    async def both_are_asked() -> bool:
        return len(house.worker.requested) == len(BODY["members"])

    async def synthesis_is_noted() -> bool:  # which is done just before it is asked for
        return await runs.find(USER, UUID(called["synthesis_run_id"])) is not None

    house.worker.serve = house.worker.start
    async with house.client(await mint(USER)) as client:
        called = (await client.post("/api/councils", json=BODY, headers=KEY)).json()
        await until(both_are_asked)
        await _go_away(gates.rabbitmq, frozen=frozen)
        await runs.end([told_in_the_end(run) for run in house.worker.requested])
        house.worker.serve = ends
        await until(synthesis_is_noted)
        await asyncio.sleep(UNCONFIRMED_S if frozen else REFUSED_S)
        assert asked_last(house) == []
        await gates.rabbitmq.open()
        events = await client.get(f"/api/councils/{called['council_id']}/events")
    assert "event: final_response" in events.text
    assert "event: error" not in events.text
    assert {str(run.run_id) for run in asked_last(house)} == {called["synthesis_run_id"]}
    assert all(house.key_vault.open_request_key(run) == KEY["X-OpenAI-Key"] for run in asked_last(house))


async def _go_away(gate: Gate, *, frozen: bool) -> None:
    if frozen:
        gate.freeze()
    else:
        await gate.close()
