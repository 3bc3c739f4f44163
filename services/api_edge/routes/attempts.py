"""Attempts as users read them, in usage lists and receipts."""

from collections.abc import Iterable
from typing import Any

from services.api_edge.routes.wire import moment, money
from shared.contracts.billing import ReceiptAttempt
from shared.contracts.usage import TokenCounts


def attempt_view(billed: ReceiptAttempt) -> dict[str, Any]:
    usage = billed.usage
    return {
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
        **money("charged", billed.charged_micros),
        "started_at": moment(usage.started_at),
        "finished_at": moment(usage.finished_at),
        "first_token_ms": usage.first_token_ms,
    }


def totals_view(billed: Iterable[ReceiptAttempt]) -> dict[str, Any]:
    """Sum up attempts. The cost is null when one attempt's is unknown."""
    attempts = list(billed)
    costs = [attempt.cost_micros for attempt in attempts]
    prompt = sum(attempt.usage.tokens.prompt for attempt in attempts)
    completion = sum(attempt.usage.tokens.completion for attempt in attempts)
    return {
        "attempts": len(attempts),
        "tokens": {"prompt": prompt, "completion": completion, "total": prompt + completion},
        **money("cost", None if None in costs else sum(cost for cost in costs if cost is not None)),
        **money("charged", sum(attempt.charged_micros for attempt in attempts)),
    }


def _tokens(tokens: TokenCounts) -> dict[str, Any]:
    return {
        "prompt": tokens.prompt,
        "completion": tokens.completion,
        "total": tokens.prompt + tokens.completion,
        "cached": tokens.cached,
        "reasoning": tokens.reasoning,
        "source": tokens.source,
    }
