"""The ends of kept runs come in batches; none keeps the others."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.api_edge.domain.run_call import RunKind
from services.api_edge.domain.runs import KeptRun, RunRecord
from services.api_edge.handlers.run_ends import RunEnds
from shared.contracts.runs import RunEnded
from shared.kernel.errors import DatabaseUnavailableError, ForbiddenError
from shared.kernel.ids import new_id
from shared.kernel.names import Outcome
from shared.runtime.delivery import Delivery
from tests.envelopes import event_body
from tests.fakes.api_edge_runs import InMemoryRunStore

pytestmark = pytest.mark.unit

_NOW = datetime.now(UTC)


class BusyRunStore(InMemoryRunStore):
    """`at_once`: how many ends it can take in time; `refused`: users whose ends it cannot."""

    def __init__(self, at_once: int = 100) -> None:
        super().__init__()
        self.at_once = at_once
        self.refused: dict[str, Exception] = {}

    async def end(self, ends: Sequence[RunEnded]) -> None:
        if len(ends) > self.at_once:
            raise DatabaseUnavailableError
        for end in ends:
            if end.user_id in self.refused:
                raise self.refused[end.user_id]
        await super().end(ends)

    def ended(self) -> set[str]:
        return {run.record.user_id for run in self.kept.values() if run.outcome is not None}


async def told(runs: BusyRunStore, *users: str, sender: str = "inference") -> list[Delivery]:
    return [await _told(runs, user, sender) for user in users]


async def _told(runs: BusyRunStore, user: str, sender: str) -> Delivery:
    record = RunRecord(new_id(), user, "chat", "openai/gpt-4o", stream=True)
    await runs.keep(KeptRun(record, RunKind.STREAM, _NOW, _NOW, _NOW + timedelta(hours=1)))
    end = RunEnded(run_id=record.run_id, user_id=user, outcome=Outcome.COMPLETED, ended_at=_NOW)
    return Delivery(event_body(end, source=sender), sender)


async def test_what_is_too_much_at_once_is_written_one_by_one() -> None:
    runs = BusyRunStore(at_once=1)
    verdicts = await RunEnds(runs).on_ended(await told(runs, "a", "b", "c"))
    assert (list(verdicts), runs.ended()) == ([None] * 3, {"a", "b", "c"})


async def test_one_that_takes_too_long_does_not_keep_the_others() -> None:
    runs = BusyRunStore()
    runs.refused = {"b": DatabaseUnavailableError()}
    work = asyncio.create_task(RunEnds(runs).on_ended(await told(runs, "a", "b", "c")))
    await asyncio.sleep(0.05)
    assert (runs.ended(), work.done()) == ({"a", "c"}, False)
    runs.refused = {}
    assert (list(await work), runs.ended()) == ([None] * 3, {"a", "b", "c"})


async def test_one_that_cannot_be_written_fails_alone() -> None:
    runs = BusyRunStore()
    runs.refused = {"b": ValueError("never")}
    forged = await told(runs, "z", sender="billing")
    deliveries = [*forged, *await told(runs, "a", "b", "c")]
    verdicts = await RunEnds(runs).on_ended(deliveries)
    assert [type(verdict) for verdict in verdicts] == [ForbiddenError, type(None), ValueError, type(None)]
    assert runs.ended() == {"a", "c"}
