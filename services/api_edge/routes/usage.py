"""Attempts, newest first, and what they come to: one's own, and for administrators everybody's."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from services.api_edge.ports import Billing
from services.api_edge.routes.attempts import attempt_view, tokens_view
from services.api_edge.routes.docs import query_docs
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import Json, Moment, PageQuery, Shown, UserId, money, read_query
from shared.contracts.billing import ListUsage, UsagePage, UsageTotals
from shared.kernel.names import KeySource

_Name = Annotated[Shown, Field(min_length=1, max_length=200)]


class UsageQuery(PageQuery):
    """`since` ≤ recorded < `until`, in RFC 3339."""

    since: Moment | None = None
    until: Moment | None = None
    flow: _Name | None = None
    model: _Name | None = None
    key_source: KeySource | None = None


class AnybodysUsageQuery(UsageQuery):
    user_id: UserId | None = None


def usage_router(gate: Gate, billing: Billing) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["usage"], dependencies=[BEARER])

    @router.get(
        "/usage",
        response_class=Json,
        dependencies=[Depends(gate.signed_in)],
        openapi_extra=query_docs(UsageQuery),
    )
    async def list_usage(request: Request) -> Json:
        query = read_query(request, UsageQuery)
        return Json(_view(await billing.usage(_asked(query, caller_of(request).user_id))))

    @router.get(
        "/admin/usage",
        response_class=Json,
        dependencies=[Depends(gate.admin)],
        openapi_extra=query_docs(AnybodysUsageQuery),
    )
    async def list_anybodys_usage(request: Request) -> Json:
        query = read_query(request, AnybodysUsageQuery)
        return Json(_view(await billing.usage(_asked(query, query.user_id)), users=True))

    return router


def _asked(query: UsageQuery, user_id: str | None) -> ListUsage:
    return ListUsage(
        user_id=user_id,
        since=query.since,
        until=query.until,
        flow=query.flow,
        model=query.model,
        key_source=query.key_source,
        limit=query.limit,
        cursor=query.cursor,
    )


def _view(page: UsagePage, *, users: bool = False) -> dict[str, Any]:
    return {
        "items": [
            ({"user_id": attempt.usage.user_id} if users else {}) | attempt_view(attempt)
            for attempt in page.items
        ],
        "next_cursor": page.next_cursor,
        "totals": _totals_view(page.totals),
    }


def _totals_view(totals: UsageTotals) -> dict[str, Any]:
    return {
        "runs": totals.runs,
        "attempts": totals.attempts,
        "keyed_attempts": totals.keyed_attempts,
        "byok_attempts": totals.byok_attempts,
        "byok_share": _share(totals.byok_attempts, totals.keyed_attempts or 0),
        "unrated_attempts": totals.unrated_attempts,
        "tokens": tokens_view(
            prompt=totals.prompt_tokens,
            completion=totals.completion_tokens,
            cached=totals.cached_tokens,
            cache_write=totals.cache_write_tokens,
            reasoning=totals.reasoning_tokens,
        ),
        **money("cost", totals.cost_micros),
        **money("charged", totals.charged_micros),
    }


def _share(part: int, whole: int) -> str | None:
    """Return a part of the whole, of four decimals; None of none."""
    return str((Decimal(part) / whole).quantize(Decimal("0.0001"))) if whole else None
