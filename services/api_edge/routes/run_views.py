"""Kept runs as their owners read them."""

from typing import Any, Final

from services.api_edge.domain.run_call import RunKind
from services.api_edge.domain.runs import KeptRun
from services.api_edge.domain.transcript import Transcript
from services.api_edge.problems import Occasion, Problems
from services.api_edge.routes.key_usage import METADATA, run_metadata, usage_view
from services.api_edge.routes.wire import moment, moment_or_none
from services.api_edge.use_cases.kept_run_in_progress import rest_of
from shared.contracts.runs import RunChunk, RunCompleted, RunEnded, RunFailed
from shared.kernel.errors import PlatformError
from shared.kernel.names import Outcome

_STATUS: Final = {None: "running", Outcome.COMPLETED: "completed", Outcome.CANCELLED: "cancelled"}


def status_of(outcome: Outcome | None) -> str:
    """Return `running` until a run is over: `completed`, `cancelled` or `failed`."""
    return _STATUS.get(outcome, "failed")


def run_view(
    run: KeptRun, problems: Problems | None = None, occasion: Occasion | None = None
) -> dict[str, Any]:
    """Describe a run; with `problems`, what came of it, too."""
    view = {
        "run_id": str(run.record.run_id),
        "status": status_of(run.outcome),
        "kind": run.kind.value,
        "flow": run.record.flow,
        "model": run.record.model,
        "session_id": run.session_id,
        "council_id": run.council_id and str(run.council_id),
        "created_at": moment(run.created_at),
        "ended_at": moment_or_none(run.ended_at),
    }
    if problems is None or occasion is None or run.end is None:
        return view
    return {**view, **_ending(run.kind, run.end, problems, occasion)}


def answer_view(transcript: Transcript) -> dict[str, Any]:
    """Tell what was said: of a chat its message, of a Response its items, too."""
    return {
        "response": transcript.response(),
        "finish_reason": transcript.finish_reason,
        **({"message": message} if (message := transcript.message) else {}),
        **({"output": transcript.output} if transcript.output is not None else {}),
    }


def _ending(kind: RunKind, end: RunEnded, problems: Problems, occasion: Occasion) -> dict[str, Any]:
    transcript = Transcript(kind)
    try:
        for told in rest_of(end, 0):
            if isinstance(told, RunChunk):
                for _ in transcript.pieces(told):
                    pass
            elif isinstance(told, RunFailed):
                raise told.error.to_error()
            else:
                return _answer(transcript, told)
    except PlatformError as error:
        return {"error": problems.problem(error, occasion), **usage_view(end.usage)}
    return {}


def _answer(transcript: Transcript, completed: RunCompleted) -> dict[str, Any]:
    if completed.response is not None:
        transcript.take(completed.response)
    return {
        **answer_view(transcript),
        "message": transcript.message,
        **usage_view(completed.usage),
        METADATA: run_metadata(completed.run_id, completed),
    }
