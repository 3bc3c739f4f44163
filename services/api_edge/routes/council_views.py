"""Councils as their owners read them."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from services.api_edge.domain.council import Council, CouncilMember
from services.api_edge.domain.runs import KeptRun
from services.api_edge.problems import Occasion, Problems
from services.api_edge.routes.key_usage import METADATA, counts_view, key_usage
from services.api_edge.routes.run_views import run_view, status_of
from services.api_edge.routes.wire import moment, money
from shared.contracts.runs import RunCompleted, RunEnded
from shared.kernel.errors import UserApiKeyRequiredError
from shared.kernel.money import sum_if_known
from shared.kernel.names import Outcome


def called_view(council: Council) -> dict[str, Any]:
    """Tell who was asked, and who was left out."""
    return {
        "council_id": str(council.council_id),
        "members": [_member(member) for member in council.members],
        "synthesis_run_id": str(council.synthesis_id),
    }


def council_item(council: Council, outcomes: Mapping[UUID, Outcome | None]) -> dict[str, Any]:
    """Tell how a council of a list stands."""
    return {
        **called_view(council),
        "status": council_status(council, outcomes),
        "session_id": council.session_id,
        "created_at": moment(council.created_at),
        "members": [{**_member(member), **_progress(member, outcomes)} for member in council.members],
    }


def council_view(
    council: Council, runs: Mapping[UUID, KeptRun], problems: Problems, occasion: Occasion
) -> dict[str, Any]:
    """Tell how a council stands, and what its runs said, used and cost so far."""
    ends = [run.end for run in runs.values() if run.end is not None]
    synthesis = runs.get(council.synthesis_id)
    answer = None if synthesis is None else run_view(synthesis, problems, occasion)
    return {
        **council_item(council, {run_id: run.outcome for run_id, run in runs.items()}),
        "members": [_stand(member, runs, problems, occasion) for member in council.members],
        "synthesis": answer,
        "response": (answer or {}).get("response"),
        **spent_view(ends),
        METADATA: council_metadata(council, ends),
    }


def council_metadata(council: Council, ends: Iterable[RunCompleted | RunEnded]) -> dict[str, Any]:
    """Tell which keys all runs of a council used."""
    uses = [use for end in ends for use in end.key_uses]
    return {"council_id": str(council.council_id), **key_usage(uses)}


def spent_view(ends: Iterable[RunCompleted | RunEnded]) -> dict[str, Any]:
    """Sum up what runs used and cost, whoever pays. The cost is null when one run's is unknown."""
    usages = [end.usage for end in ends if end.usage is not None]
    costs = [usage.cost_micros for usage in usages]
    return {
        "usage": counts_view(
            sum(usage.tokens.prompt for usage in usages), sum(usage.tokens.completion for usage in usages)
        ),
        **money("cost", sum_if_known(costs)),
    }


def left_out(member: CouncilMember, problems: Problems, occasion: Occasion) -> dict[str, Any]:
    """Tell why a member was not asked, and where that can be mended."""
    return problems.problem(UserApiKeyRequiredError(service=member.service), occasion)


def _member(member: CouncilMember) -> dict[str, Any]:
    is_asked = member.run_id is not None
    return {
        "model": member.model,
        "service": member.service,
        "run_id": str(member.run_id) if is_asked else None,
        "status": "running" if is_asked else "skipped",
    }


def _progress(member: CouncilMember, outcomes: Mapping[UUID, Outcome | None]) -> dict[str, Any]:
    if member.run_id is None or member.run_id not in outcomes:
        return {}
    return {"status": status_of(outcomes[member.run_id])}


def _stand(
    member: CouncilMember, runs: Mapping[UUID, KeptRun], problems: Problems, occasion: Occasion
) -> dict[str, Any]:
    if member.run_id is None:
        return {**_member(member), "error": left_out(member, problems, occasion)}
    run = runs.get(member.run_id)
    return {**_member(member), **(run_view(run, problems, occasion) if run else {})}


def council_status(council: Council, outcomes: Mapping[UUID, Outcome | None]) -> str:
    """As a run's. Without a synthesis, and none to come, nobody had an answer, or it was stopped."""
    if council.synthesis_id in outcomes:
        return status_of(outcomes[council.synthesis_id])
    if council.question is not None:
        return "running"
    own = [outcomes[run_id] for run_id in council.run_ids if run_id in outcomes]
    has_failed = all(outcome not in {None, Outcome.CANCELLED, Outcome.COMPLETED} for outcome in own)
    return "failed" if has_failed else "cancelled"
