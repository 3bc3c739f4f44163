"""A worker that ends at the step of a run that the run's prompt names. `python -m tests.chaos.mortal_worker`

Nothing in it is patched: what it stands on is wrapped, as its composition root allows.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID

from services.inference.app import main
from services.inference.domain.attempt import Attempt
from services.inference.handlers import Handlers
from services.inference.ports import (
    AbandonedAttempt,
    AttemptStore,
    Piece,
    Provider,
    ProviderCall,
    StoredAttempt,
    UsageLog,
)
from services.inference.service import Inference, Parts
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunEnded, RunRequested
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import API_EDGE
from shared.runtime.delivery import Delivery
from shared.runtime.process import run
from tests.acceptance.worker import outside, patient
from tests.chaos.fuses import FOLDER, Fuse, Fuses, Step


class Known:
    """The fuses of the runs that this process has had in hand."""

    def __init__(self, fuses: Fuses) -> None:
        self._fuses = fuses
        self._of_run: dict[UUID, Fuse | None] = {}

    def note(self, request: RunRequested) -> None:
        self._of_run[request.run_id] = Fuse.in_body(request.body)

    def at(self, step: Step, run_id: UUID) -> None:
        self._fuses.at(step, self._of_run.get(run_id))


class MortalStore:
    def __init__(self, inner: AttemptStore, known: Known) -> None:
        self._inner = inner
        self._known = known

    async def claim(self, attempt: Attempt, request: RunRequested) -> bool:
        self._known.at(Step.BEFORE_CLAIM, attempt.run_id)
        claimed = await self._inner.claim(attempt, request)
        if claimed:
            self._known.at(Step.AFTER_CLAIM, attempt.run_id)
        return claimed

    async def finish(
        self, usage: UsageRecorded, error: ErrorBody | None, end: RunEnded | None = None
    ) -> bool:
        ended = await self._inner.finish(usage, error, end)
        self._known.at(Step.AFTER_OUTCOME, usage.run_id)
        return ended

    async def note_key(self, attempt: Attempt) -> bool:
        return await self._inner.note_key(attempt)

    async def attempts(self, run_id: UUID, *, stale_after_s: float) -> tuple[StoredAttempt, ...]:
        return await self._inner.attempts(run_id, stale_after_s=stale_after_s)

    async def abandoned(
        self, *, own: str, stale_after_s: float, overdue_s: float, limit: int
    ) -> tuple[AbandonedAttempt, ...]:
        return await self._inner.abandoned(
            own=own, stale_after_s=stale_after_s, overdue_s=overdue_s, limit=limit
        )

    async def beat(self, worker: str) -> None:
        await self._inner.beat(worker)


class MortalProvider:
    def __init__(self, inner: Provider, fuses: Fuses) -> None:
        self._inner = inner
        self._fuses = fuses

    async def complete(self, call: ProviderCall) -> Piece:
        fuse = Fuse.in_body(call.body)
        self._fuses.at(Step.BEFORE_CALL, fuse)
        answer = await self._inner.complete(call)
        self._fuses.at(Step.AFTER_LAST_CHUNK, fuse)
        return answer

    async def stream(self, call: ProviderCall) -> AsyncGenerator[Piece, None]:
        fuse = Fuse.in_body(call.body)
        self._fuses.at(Step.BEFORE_CALL, fuse)
        async with aclosing(self._inner.stream(call)) as pieces:
            async for piece in pieces:
                yield piece
                self._fuses.at(Step.AFTER_FIRST_CHUNK, fuse)  # the first time it was asked for another
        self._fuses.at(Step.AFTER_LAST_CHUNK, fuse)


class MortalUsageLog:
    def __init__(self, inner: UsageLog, known: Known) -> None:
        self._inner = inner
        self._known = known

    async def record(self, usage: UsageRecorded) -> None:
        await self._inner.record(usage)
        self._known.at(Step.AFTER_PUBLISHED, usage.run_id)

    async def record_end(self, end: RunEnded) -> None:
        await self._inner.record_end(end)


class MortalHandlers(Handlers):
    """What the bus hands over; it acknowledges what this returns from."""

    def __init__(self, service: Inference, known: Known) -> None:
        super().__init__(service.run_inference, service.in_flight, service.remembered_keys)
        self._known = known

    async def on_run_requested(self, delivery: Delivery) -> None:
        request = delivery.read(RunRequested, senders=(API_EDGE,))
        self._known.note(request)
        await super().on_run_requested(delivery)
        self._known.at(Step.BEFORE_ACK, request.run_id)


class MortalInference(Inference):
    def __init__(self, fuses: Fuses, parts: Parts) -> None:
        known = Known(fuses)
        super().__init__(
            replace(
                patient(parts),
                store=MortalStore(parts.store, known),
                provider=MortalProvider(parts.provider, fuses),
                usage_log=MortalUsageLog(parts.usage_log, known),
            )
        )
        self.handlers = MortalHandlers(self, known)


if __name__ == "__main__":
    run(partial(main, outside(), partial(MortalInference, Fuses(Path(os.environ[FOLDER])))))
