"""What is kept of a run that is over."""

from collections.abc import Sequence
from typing import Final

from shared.contracts.message import MESSAGE_BYTES_MAX, text_bytes
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import KeyUse, RunEnded, RunUsage
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import ProviderError
from shared.kernel.names import Outcome

_ATTRIBUTES_BYTES: Final = 256 * 1024
"""For all of an end but its answer."""


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


def too_long(service: str | None = None) -> ProviderError:
    return ProviderError("the answer is too long", service=service, detail=ProviderError.TOO_LONG)


def publishable(end: RunEnded) -> RunEnded:
    """Return an end that fits into one message: without its answer, and failed, when that does not."""
    if sum(text_bytes(text) + 1 for text in _texts(end)) <= MESSAGE_BYTES_MAX - _ATTRIBUTES_BYTES:
        return end
    failed = {"outcome": Outcome.FAILED, "error": end.error or ErrorBody.of(too_long())}
    return end.model_copy(update={**failed, "response": None, "chunks": ()})


def answer_chars(end: RunEnded) -> int:
    return sum(map(len, _texts(end)))


def _texts(end: RunEnded) -> tuple[str, ...]:
    return end.chunks if end.response is None else (end.response, *end.chunks)
