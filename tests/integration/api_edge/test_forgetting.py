"""Runs that are older than operators want are forgotten by the edge itself."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.api_edge.adapters.postgres import Database
from services.api_edge.adapters.postgres_runs import PostgresRunStore
from services.api_edge.domain.runs import RunRecord
from services.api_edge.settings import EdgeSettings
from shared.kernel.ids import first_id_of
from shared.kernel.names import API_EDGE
from shared.runtime.settings import DAY_S
from tests.integration.api_edge.house import serving_edge
from tests.realm import PoolFor
from tests.waiting import until

pytestmark = pytest.mark.integration


async def a_run_of(runs: PostgresRunStore, days_ago: int) -> UUID:
    run_id = first_id_of(datetime.now(UTC) - timedelta(days=days_ago))
    await runs.add(RunRecord(run_id, "ann", "chat", "openai/gpt-4o", stream=False))
    return run_id


async def test_old_runs_are_forgotten_where_operators_want_it(
    settings: EdgeSettings, pool_for: PoolFor
) -> None:
    runs = PostgresRunStore(Database(await pool_for(API_EDGE)))
    young, old = await a_run_of(runs, 1), await a_run_of(runs, 3)

    async def is_forgotten() -> bool:
        return await runs.owner(old) is None

    async with serving_edge(settings.model_copy(update={"runs_ttl_s": 2 * DAY_S})):
        await until(is_forgotten)

    assert await runs.owner(young) is not None
