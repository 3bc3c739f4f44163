"""What is kept of a run that is over."""

from collections.abc import Sequence

from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import KeyUse, RunEnded, RunUsage
from shared.contracts.usage import UsageRecorded


def run_ended(
    attempts: Sequence[UsageRecorded],
    error: ErrorBody | None,
    response: str | None = None,
    chunks: tuple[str, ...] = (),
) -> RunEnded:
    """Return the end of a run by its attempts, of which the last decides. `error`: the client's."""
    last = attempts[-1]
    return RunEnded(
        run_id=last.run_id,
        user_id=last.user_id,
        outcome=last.outcome,
        error=error,
        key_source=last.key_source,
        response=response,
        chunks=chunks,
        key_uses=KeyUse.all_of(attempts),
        usage=RunUsage.of(attempts),
        ended_at=last.finished_at,
    )
