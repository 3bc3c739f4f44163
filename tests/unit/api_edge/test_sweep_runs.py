"""What operators want to be forgotten is forgotten, batch by batch, and nothing else."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.api_edge.domain.runs import RunRecord
from services.api_edge.use_cases.sweep_runs import SweepRuns
from shared.kernel.ids import first_id_of
from tests.fakes.api_edge_councils import InMemoryCouncilStore
from tests.fakes.api_edge_runs import InMemoryRunStore

pytestmark = pytest.mark.unit

DAYS = timedelta(days=1)
MORE_THAN_A_BATCH = 2500


def an_old_id(days: int, number: int = 0) -> UUID:
    return first_id_of(datetime.now(UTC) - days * DAYS + timedelta(milliseconds=number))


@pytest.fixture
async def runs() -> InMemoryRunStore:
    store = InMemoryRunStore()
    for run_id in [an_old_id(1), *(an_old_id(40, number) for number in range(MORE_THAN_A_BATCH))]:
        await store.add(RunRecord(run_id, "ann", "chat", "openai/gpt-4o", stream=False))
    return store


async def test_nothing_is_forgotten_unless_it_is_wanted(runs: InMemoryRunStore) -> None:
    await SweepRuns(runs, InMemoryCouncilStore(), kept_for=DAYS)()
    assert len(runs.runs) == MORE_THAN_A_BATCH + 1


async def test_all_that_is_old_is_forgotten_in_one_sweep(runs: InMemoryRunStore) -> None:
    await SweepRuns(runs, InMemoryCouncilStore(), kept_for=DAYS, forgotten_after=30 * DAYS)()
    assert len(runs.runs) == 1
