"""`GET /api/usage`: a user's attempts, newest first."""

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from services.api_edge.ports import Billing
from services.api_edge.routes.attempts import attempt_view
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import Input, Json, query_docs, read_query


class PageQuery(Input):
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=500)


def usage_router(gate: Gate, billing: Billing) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["usage"], dependencies=[BEARER, Depends(gate.signed_in)])

    @router.get("/usage", response_class=Json, openapi_extra=query_docs(PageQuery))
    async def list_usage(request: Request) -> Json:
        query = read_query(request, PageQuery)
        page = await billing.usage(caller_of(request).user_id, query.limit, query.cursor)
        return Json(
            {"items": [attempt_view(attempt) for attempt in page.items], "next_cursor": page.next_cursor}
        )

    return router
