"""Attempts as users read them, in usage lists and receipts."""

from collections.abc import Iterable, Sequence
from typing import Any

from services.api_edge.routes.key_usage import key_usage, session_view, uses_of
from services.api_edge.routes.wire import moment, money
from services.api_edge.use_cases.session_usage import SessionTotals
from shared.contracts.billing import ReceiptAttempt
from shared.contracts.usage import TokenCounts
from shared.kernel.money import sum_if_known


def attempt_view(billed: ReceiptAttempt) -> dict[str, Any]:
    usage = billed.usage
    return {
        "usage_id": str(usage.usage_id),
        "run_id": str(usage.run_id),
        "attempt": usage.attempt,
        "flow": usage.flow,
        "key_source": usage.key_source,
        "credential_id": usage.credential_id,
        "consent_id": usage.consent_id,
        "would_refuse_policy": usage.would_refuse_policy,
        "service": usage.service,
        "provider": usage.provider,
        "model": usage.model,
        "stream": usage.stream,
        "outcome": usage.outcome,
        "error_code": usage.error_code,
        "tokens": _tokens(usage.tokens),
        **money("cost", billed.cost_micros),
        "unrated": billed.unrated,
        "price_version": billed.price_version,
        **money("charged", billed.charged_micros),
        "started_at": moment(usage.started_at),
        "finished_at": moment(usage.finished_at),
        "queue_ms": usage.queue_ms,
        "resolve_ms": usage.resolve_ms,
        "first_token_ms": usage.first_token_ms,
        "total_ms": usage.total_ms,
        "provider_request_id": usage.provider_request_id,
    }


def totals_view(billed: Iterable[ReceiptAttempt]) -> dict[str, Any]:
    """Sum up attempts. The cost is null when one attempt's is unknown."""
    attempts = list(billed)
    counts = [attempt.usage.tokens for attempt in attempts]
    costs = [attempt.cost_micros for attempt in attempts]
    return {
        "attempts": len(attempts),
        "tokens": tokens_view(
            prompt=sum(tokens.prompt for tokens in counts),
            completion=sum(tokens.completion for tokens in counts),
            cached=sum(tokens.cached for tokens in counts),
            cache_write=sum(tokens.cache_write for tokens in counts),
            reasoning=sum(tokens.reasoning for tokens in counts),
        ),
        **money("cost", sum_if_known(costs)),
        **money("charged", sum(attempt.charged_micros for attempt in attempts)),
    }


def receipt_view(
    billed: Sequence[ReceiptAttempt], session: SessionTotals | None, *, is_final: bool
) -> dict[str, Any]:
    """Tell what attempts used and cost, of a run or of a council's."""
    return {
        "status": "final" if is_final else "pending",
        "attempts": [attempt_view(attempt) for attempt in billed],
        "totals": totals_view(billed),
        **session_view(session),
        **key_usage(uses_of(billed)),
    }


def tokens_view(
    *, prompt: int, completion: int, cached: int, cache_write: int, reasoning: int
) -> dict[str, int]:
    return {
        "prompt": prompt,
        "completion": completion,
        "total": prompt + completion,
        "cached": cached,
        "cache_write": cache_write,
        "reasoning": reasoning,
    }


def _tokens(tokens: TokenCounts) -> dict[str, Any]:
    counts = tokens_view(
        prompt=tokens.prompt,
        completion=tokens.completion,
        cached=tokens.cached,
        cache_write=tokens.cache_write,
        reasoning=tokens.reasoning,
    )
    return {**counts, "source": tokens.source}
