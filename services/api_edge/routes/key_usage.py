"""Which key every attempt of a run used: in its receipt and in its answer, by the same functions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from services.api_edge.routes.wire import moment
from shared.contracts.billing import ReceiptAttempt
from shared.contracts.runs import KeyUse, RunCompleted
from shared.kernel.names import Outcome

METADATA: Final = "latchkey"
"""The member of an answer that is ours."""


def key_usage(uses: Sequence[KeyUse]) -> dict[str, Any]:
    """Tell of attempts that had a key. The names are those that frontends of this kind read."""
    return {"apiKeyUsageLog": [_entry(use) for use in uses], "apiKeyUsageSummary": _summary(uses)}


def uses_of(billed: Iterable[ReceiptAttempt]) -> tuple[KeyUse, ...]:
    """Return what the worker told the edge of the same attempts."""
    uses = (KeyUse.of(attempt.usage) for attempt in billed)
    return tuple(use for use in uses if use is not None)


def run_metadata(run_id: UUID, completed: RunCompleted) -> dict[str, Any]:
    return {
        "run_id": str(run_id),
        "key_source": completed.key_source.value,
        **key_usage(completed.key_uses),
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
