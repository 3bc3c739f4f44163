"""Runs, as the edge keeps them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.api_edge.domain.idempotency import Idempotency
from services.api_edge.domain.run_call import RunKind
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunEnded
from shared.kernel.errors import WorkerLostError
from shared.kernel.names import Outcome


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What the edge keeps of a run."""

    run_id: UUID
    user_id: str
    flow: str
    model: str
    stream: bool


@dataclass(frozen=True, slots=True)
class RunOwner:
    """Whose run it is. `goes_on`: of a kept run that has no end yet; of another one only those know who wait
    for it.
    """

    user_id: str
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run that may be asked for again. `council_id`: of a council's. `end`: None while it goes on, and when
    it is not kept any more.
    """

    record: RunRecord
    kind: RunKind
    created_at: datetime
    start_by: datetime
    deadline: datetime
    session_id: str | None = None
    council_id: UUID | None = None
    idempotency: Idempotency | None = None
    outcome: Outcome | None = None
    ended_at: datetime | None = None
    end: RunEnded | None = None


def lost_end(run: KeptRun) -> RunEnded:
    """Return the end of a run of which nobody will tell any more."""
    return RunEnded(
        run_id=run.record.run_id,
        user_id=run.record.user_id,
        outcome=Outcome.INTERRUPTED,
        error=ErrorBody.of(WorkerLostError("nobody told of the run's end in time")),
        ended_at=run.deadline,
    )
