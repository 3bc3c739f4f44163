"""The edge's runs in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from services.api_edge.domain.errors import OverLimitError
from services.api_edge.domain.runs import KeptRun, RunOwner, RunRecord, lost_end
from shared.contracts.runs import RunEnded
from shared.kernel.errors import PlatformError
from shared.kernel.names import Outcome
from tests.fakes.ages import at_least_a_day_ago


class InMemoryRunStore:
    def __init__(self) -> None:
        self.runs: dict[UUID, RunRecord] = {}
        self.kept: dict[UUID, KeptRun] = {}
        self.error: PlatformError | None = None

    async def add(self, run: RunRecord) -> None:
        if self.error:
            raise self.error
        self.runs[run.run_id] = run

    async def owner(self, run_id: UUID) -> RunOwner | None:
        if self.error:
            raise self.error
        run, kept = self.runs.get(run_id), self.kept.get(run_id)
        return RunOwner(run.user_id, kept is not None and kept.outcome is None) if run else None

    async def keep(self, run: KeptRun, at_once_max: int = 0) -> KeptRun | None:
        if self.error:
            raise self.error
        going_on = self._going_on(run.record.user_id)
        if at_once_max:
            await asyncio.sleep(0)  # as in Postgres, what is kept meanwhile is not counted
        for other in self.kept.values():
            if other.record.run_id == run.record.run_id or (run.idempotency and _key(other) == _key(run)):
                return other
        if at_once_max and going_on >= at_once_max:
            raise OverLimitError
        self.kept[run.record.run_id] = run
        self.runs[run.record.run_id] = run.record
        return None

    async def free(self, run_id: UUID) -> None:
        if self.error:
            raise self.error
        run = replace(self.kept[run_id], idempotency=None)
        if run.outcome is None:
            run = replace(run, outcome=Outcome.CANCELLED, ended_at=datetime.now(UTC))
        self.kept[run_id] = run

    async def find(self, user_id: str, run_id: UUID) -> KeptRun | None:
        if self.error:
            raise self.error
        run = self.kept.get(run_id)
        return run if run and run.record.user_id == user_id else None

    async def end(self, ends: Sequence[RunEnded]) -> None:
        if self.error:
            raise self.error
        for end in ends:
            run = self.kept.get(end.run_id)
            if run is not None and (run.outcome is None or run.end == lost_end(run)):
                self.kept[end.run_id] = replace(run, outcome=end.outcome, ended_at=end.ended_at, end=end)

    def _going_on(self, user_id: str) -> int:
        now, runs = datetime.now(UTC), self.kept.values()
        own = [run for run in runs if run.record.user_id == user_id and run.deadline > now]
        return sum(run.outcome is None for run in own)

    async def page(
        self, user_id: str, *, limit: int, before: UUID | None, session_id: str | None
    ) -> tuple[KeptRun, ...]:
        if self.error:
            raise self.error
        own = [
            replace(run, end=None)
            for run_id, run in sorted(self.kept.items(), reverse=True)
            if run.record.user_id == user_id
            and (before is None or run_id < before)
            and session_id in {None, run.session_id}
        ]
        return tuple(own[:limit])

    async def outcomes(self, user_id: str, run_ids: Sequence[UUID]) -> dict[UUID, Outcome | None]:
        if self.error:
            raise self.error
        own = [self.kept[run_id] for run_id in run_ids if run_id in self.kept]
        return {run.record.run_id: run.outcome for run in own if run.record.user_id == user_id}

    async def sweep(self, *, ended_before: datetime, lost_before: datetime) -> int:
        if self.error:
            raise self.error
        old = [run for run in self.kept.values() if run.end and run.end.ended_at < ended_before]
        lost = [run for run in self.kept.values() if run.outcome is None and run.deadline < lost_before]
        for run in old:
            self.kept[run.record.run_id] = replace(run, end=None)
        for run in lost:
            ended = replace(run, outcome=Outcome.INTERRUPTED, ended_at=run.deadline, end=lost_end(run))
            self.kept[run.record.run_id] = ended
        return len(old)

    async def forget(self, born_before: UUID, *, limit: int) -> int:
        if self.error:
            raise self.error
        over = self.runs.keys() - {run_id for run_id, run in self.kept.items() if run.outcome is None}
        old = sorted(run_id for run_id in over if run_id < at_least_a_day_ago(born_before))[:limit]
        for run_id in old:
            del self.runs[run_id]
            self.kept.pop(run_id, None)
        return len(old)


def _key(run: KeptRun) -> tuple[str, str | None]:
    return run.record.user_id, run.idempotency.key if run.idempotency else None
