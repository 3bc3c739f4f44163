"""Credits: what users have, and what moved it. Administrators see everybody's."""

from typing import Any

from fastapi import APIRouter, Depends, Request

from services.api_edge.ports import Billing
from services.api_edge.routes.docs import query_docs
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import Json, PageQuery, moment, money, read_query, read_user_id
from shared.contracts.credits import Balance, StatementEntry


def credits_router(gate: Gate, billing: Billing) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["credits"], dependencies=[BEARER])
    own, admin = [Depends(gate.signed_in)], [Depends(gate.admin)]
    paged = query_docs(PageQuery)

    @router.get("/credits", response_class=Json, dependencies=own)
    async def read_credits(request: Request) -> Json:
        return Json(balance_view(await billing.balance(caller_of(request).user_id)))

    @router.get("/credits/statement", response_class=Json, dependencies=own, openapi_extra=paged)
    async def read_statement(request: Request) -> Json:
        return await statement(request, caller_of(request).user_id)

    # A user's id may hold a slash, so the longer path is looked at first.
    @router.get(
        "/admin/credits/{user_id:path}/statement",
        response_class=Json,
        dependencies=admin,
        openapi_extra=paged,
    )
    async def read_users_statement(request: Request, user_id: str) -> Json:
        return await statement(request, read_user_id(user_id))

    @router.get("/admin/credits/{user_id:path}", response_class=Json, dependencies=admin)
    async def read_users_credits(user_id: str) -> Json:
        user_id = read_user_id(user_id)
        return Json({"user_id": user_id, **balance_view(await billing.balance(user_id))})

    async def statement(request: Request, user_id: str) -> Json:
        query = read_query(request, PageQuery)
        page = await billing.statement(user_id, query.limit, query.cursor)
        return Json({"items": [_entry_view(entry) for entry in page.items], "next_cursor": page.next_cursor})

    return router


def balance_view(balance: Balance) -> dict[str, Any]:
    return {
        **money("balance", balance.balance_micros),
        **money("held", balance.held_micros),
        **money("available", balance.balance_micros - balance.held_micros),
        **money("receivable", balance.receivable_micros),
    }


def _entry_view(entry: StatementEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "cause": entry.cause,
        "cause_id": str(entry.cause_id),
        **money("amount", entry.amount_micros),
        **money("receivable_change", entry.receivable_micros),
        **money("balance", entry.balance_micros),
        "run_id": None if entry.run_id is None else str(entry.run_id),
        "attempt": entry.attempt,
        "reason": entry.reason,
        "created_at": moment(entry.created_at),
    }
