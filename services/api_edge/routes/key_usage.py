"""Which key every attempt of a run used: in its receipt and in its answer, by the same functions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from services.api_edge.routes.wire import moment, money
from services.api_edge.use_cases.session_usage import SessionTotals
from shared.contracts.billing import ReceiptAttempt
from shared.contracts.runs import KeyUse, RunCompleted, RunUsage
from shared.kernel.names import Outcome

METADATA: Final = "latchkey"
"""The member of an answer that is ours."""


def key_usage(uses: Sequence[KeyUse]) -> dict[str, Any]:
    """Tell of attempts that had a key. The names are those that frontends of this kind read."""
    return {"apiKeyUsageLog": [_entry(use) for use in uses], "apiKeyUsageSummary": _summary(uses)}


def uses_of(billed: Iterable[ReceiptAttempt]) -> tuple[KeyUse, ...]:
    """Return what the worker told the edge of the same attempts."""
    return KeyUse.all_of(attempt.usage for attempt in billed)


def run_metadata(
    run_id: UUID, completed: RunCompleted, session: SessionTotals | None = None
) -> dict[str, Any]:
    return {
        "run_id": str(run_id),
        "key_source": completed.key_source.value,
        **money("cost", completed.usage.cost_micros if completed.usage else None),
        **session_view(session),
        **key_usage(completed.key_uses),
    }


def session_view(session: SessionTotals | None) -> dict[str, Any]:
    """Tell what a session comes to so far, if there is one."""
    if session is None:
        return {}
    totals = {
        "session_id": session.session_id,
        "usage": counts_view(session.prompt_tokens, session.completion_tokens),
        **money("cost", session.cost_micros),
    }
    return {"session": totals}


def usage_view(usage: RunUsage | None) -> dict[str, Any]:
    """Tell what an answer used and cost, whoever pays."""
    tokens = usage.tokens if usage else None
    return {
        "usage": counts_view(tokens.prompt, tokens.completion) if tokens else None,
        **money("cost", usage.cost_micros if usage else None),
    }


def counts_view(prompt: int, completion: int) -> dict[str, int]:
    """Tell tokens by OpenAI's names."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _entry(use: KeyUse) -> dict[str, Any]:
    return {
        "model": use.model,
        "provider": use.provider.value,
        "key_source": use.key_source.value,
        "timestamp": moment(use.timestamp),
        "credential_id": use.credential_id,
        "outcome": use.outcome.value,
    }


def _summary(uses: Sequence[KeyUse]) -> dict[str, Any]:
    """Count what was used: a key whose attempt was refused (for lack of credits, say) was not."""
    sources = [use.key_source for use in uses if use.outcome is not Outcome.REFUSED]
    return {
        "total": len(sources),
        "by_key_source": {source.value: count for source, count in Counter(sources).items()},
        "used_platform_key": any(not source.is_byok for source in sources),
        "used_user_key": any(source.is_byok for source in sources),
    }
