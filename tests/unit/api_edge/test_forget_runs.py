"""What operators want to be forgotten is forgotten, batch by batch, and nothing else."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.api_edge.domain.council import Council
from services.api_edge.domain.runs import RunRecord
from services.api_edge.use_cases.forget_runs import ForgetRuns
from shared.kernel.ids import first_id_of, new_id
from tests.fakes.api_edge_councils import InMemoryCouncilStore
from tests.fakes.api_edge_runs import InMemoryRunStore

pytestmark = pytest.mark.unit

DAYS = timedelta(days=1)
MORE_THAN_A_BATCH = 2500


def an_old_id(days: int, number: int = 0) -> UUID:
    return first_id_of(datetime.now(UTC) - days * DAYS + timedelta(milliseconds=number))


def a_council(days: int) -> Council:
    born = datetime.now(UTC) - days * DAYS
    return Council(an_old_id(days), "ann", (), new_id(), born, born)


async def test_all_that_is_old_is_forgotten_at_once() -> None:
    runs, councils = InMemoryRunStore(), InMemoryCouncilStore()
    ids = [an_old_id(29), *(an_old_id(40, number) for number in range(MORE_THAN_A_BATCH))]
    for run_id in ids:
        await runs.add(RunRecord(run_id, "ann", "chat", "openai/gpt-4o", stream=False))
    for council in (young := a_council(29), a_council(31)):
        await councils.keep(council)

    await ForgetRuns(runs, councils, after=30 * DAYS)()

    assert list(runs.runs) == ids[:1]
    assert list(councils.kept) == [young.council_id]
