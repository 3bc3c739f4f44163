"""Credits: what a user has, and what an administrator gives."""

from decimal import Decimal
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from services.api_edge.ports import Billing
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import Input, Json, Shown, UserId, body_docs, moment, money, read_body
from shared.contracts.credits import Balance, CreditsMoved, GrantCredits
from shared.kernel.money import credits_to_micros

_CREDITS_MAX = 10**9


class GrantBody(Input):
    """`credits`: a positive number, or a decimal string, of at most six decimals."""

    user_id: UserId
    credits: Decimal = Field(gt=0, le=_CREDITS_MAX, decimal_places=6)
    idempotency_key: Shown = Field(min_length=1, max_length=200)


def credits_router(gate: Gate, billing: Billing) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["credits"], dependencies=[BEARER])

    @router.get("/credits", response_class=Json, dependencies=[Depends(gate.signed_in)])
    async def read_credits(request: Request) -> Json:
        return Json(_balance_view(await billing.balance(caller_of(request).user_id)))

    @router.post(
        "/admin/credits/grants",
        status_code=201,
        response_class=Json,
        dependencies=[Depends(gate.admin)],
        openapi_extra=body_docs(GrantBody),
    )
    async def grant_credits(request: Request) -> Json:
        body = await read_body(request, GrantBody)
        command = GrantCredits(
            user_id=body.user_id,
            amount_micros=credits_to_micros(body.credits),
            idempotency_key=body.idempotency_key,
            granted_by=caller_of(request).user_id,
        )
        return Json(_grant_view(await billing.grant(command), body.idempotency_key), 201)

    return router


def _balance_view(balance: Balance) -> dict[str, Any]:
    return {
        **money("balance", balance.balance_micros),
        **money("held", balance.held_micros),
        **money("available", balance.balance_micros - balance.held_micros),
        **money("receivable", balance.receivable_micros),
    }


def _grant_view(grant: CreditsMoved, idempotency_key: str) -> dict[str, Any]:
    return {
        "transfer_id": str(grant.transfer_id),
        "user_id": grant.user_id,
        **money("credits", grant.amount_micros),
        **money("balance", grant.balance_micros),
        "idempotency_key": idempotency_key,
        "created_at": moment(grant.created_at),
    }
