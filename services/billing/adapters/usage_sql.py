"""The SQL of usage as billed: lists, and what they come to."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.contracts.billing import ListUsage

USAGE_OF_RUN: Final = """
SELECT event, cost_micros, charged_micros, price_version, unrated
FROM usage WHERE run_id = $1 AND user_id = $2 ORDER BY attempt
"""

IS_OPEN: Final = """
SELECT EXISTS (SELECT FROM holds WHERE run_id = $1 AND user_id = $2 AND state = 'held')
"""

_PAGE: Final = """
SELECT seq, event, cost_micros, charged_micros, price_version, unrated
FROM usage WHERE {} ORDER BY seq DESC LIMIT {:d}
"""

# What is summed is taken out of each row at once: sorting whole events by run would cost more than the rest.
_TOTALS: Final = """
SELECT count(DISTINCT run_id) AS runs,
       count(*) AS attempts,
       count(key_source) AS keyed_attempts,
       count(*) FILTER (WHERE key_source IN ('request', 'session', 'user_gateway', 'user')) AS byok_attempts,
       count(*) FILTER (WHERE cost_micros IS NULL) AS unrated_attempts,
       coalesce(sum((tokens ->> 'prompt')::bigint), 0)::bigint AS prompt_tokens,
       coalesce(sum((tokens ->> 'completion')::bigint), 0)::bigint AS completion_tokens,
       coalesce(sum((tokens ->> 'cached')::bigint), 0)::bigint AS cached_tokens,
       coalesce(sum((tokens ->> 'cache_write')::bigint), 0)::bigint AS cache_write_tokens,
       coalesce(sum((tokens ->> 'reasoning')::bigint), 0)::bigint AS reasoning_tokens,
       coalesce(sum(cost_micros), 0)::bigint AS cost_micros,
       coalesce(sum(charged_micros), 0)::bigint AS charged_micros
FROM (
    SELECT run_id, key_source, cost_micros, charged_micros, event -> 'tokens' AS tokens
    FROM usage WHERE {} OFFSET 0
) AS asked
"""

_FILTERS: Final = {
    "user_id": "user_id = ${}",
    "since": "recorded_at >= ${}",
    "until": "recorded_at < ${}",
    "flow": "flow = ${}",
    "model": "model = ${}",
    "key_source": "key_source = ${}",
    "session_id": "event ->> 'session_id' = ${}",
    "excluding_run": "run_id <> ${}",
}


def page(request: ListUsage, before: int) -> tuple[str, Sequence[object]]:
    """Return the query of a page and one row more, and its values."""
    where, values = _where({**_asked(request), "seq < ${}": before})
    return _PAGE.format(where, request.limit + 1), values


def totals(request: ListUsage) -> tuple[str, Sequence[object]]:
    where, values = _where(_asked(request))
    return _TOTALS.format(where), values


def _asked(request: ListUsage) -> dict[str, Any]:
    asked = {text: getattr(request, name) for name, text in _FILTERS.items()}
    return {text: value for text, value in asked.items() if value is not None}


def _where(conditions: Mapping[str, object]) -> tuple[str, Sequence[object]]:
    """Only what is asked for is written, so that each query has the plan that is its own."""
    texts = [text.format(place) for place, text in enumerate(conditions, 1)]
    return " AND ".join(texts) or "true", list(conditions.values())
