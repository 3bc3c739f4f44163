"""What administrators give, and correct."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from services.api_edge.ports import Billing
from services.api_edge.routes.amounts import Credits, CreditsChange
from services.api_edge.routes.docs import body_docs
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import IdempotencyKey, Input, Json, Shown, UserId, moment, money, read_body
from shared.contracts.credits import AdjustCredits, CreditsMoved, GrantCredits
from shared.kernel.lengths import REASON_CHARS_MAX
from shared.kernel.money import credits_to_micros


class GrantBody(Input):
    """`credits`: a positive number, or a decimal string, of at most six decimals."""

    user_id: UserId
    credits: Credits
    idempotency_key: IdempotencyKey


class AdjustmentBody(Input):
    """`credits` as in a grant; less than 0 takes. `run_id`: the run whose charge it corrects."""

    user_id: UserId
    credits: CreditsChange
    reason: Shown = Field(min_length=1, max_length=REASON_CHARS_MAX)
    run_id: UUID | None = None
    idempotency_key: IdempotencyKey


def credit_admin_router(gate: Gate, billing: Billing) -> APIRouter:
    router = APIRouter(
        prefix="/api/admin/credits", tags=["credits"], dependencies=[BEARER, Depends(gate.admin)]
    )

    @router.post("/grants", status_code=201, response_class=Json, openapi_extra=body_docs(GrantBody))
    async def grant_credits(request: Request) -> Json:
        """Give credits, once a key. What the user owes is paid first."""
        body = await read_body(request, GrantBody)
        command = GrantCredits(
            user_id=body.user_id,
            amount_micros=credits_to_micros(body.credits),
            idempotency_key=body.idempotency_key,
            granted_by=caller_of(request).user_id,
        )
        return Json(_view(await billing.grant(command), body.idempotency_key), 201)

    @router.post(
        "/adjustments", status_code=201, response_class=Json, openapi_extra=body_docs(AdjustmentBody)
    )
    async def adjust_credits(request: Request) -> Json:
        """Correct a balance, once a key. Of what is taken, the user owes what is not available."""
        body = await read_body(request, AdjustmentBody)
        command = AdjustCredits(
            user_id=body.user_id,
            amount_micros=credits_to_micros(body.credits),
            reason=body.reason,
            run_id=body.run_id,
            idempotency_key=body.idempotency_key,
            adjusted_by=caller_of(request).user_id,
        )
        moved = _view(await billing.adjust(command), body.idempotency_key)
        run_id = None if body.run_id is None else str(body.run_id)
        return Json({**moved, "reason": body.reason, "run_id": run_id}, 201)

    return router


def _view(moved: CreditsMoved, idempotency_key: str) -> dict[str, Any]:
    return {
        "transfer_id": str(moved.transfer_id),
        "user_id": moved.user_id,
        **money("credits", moved.amount_micros),
        **money("receivable_change", moved.receivable_micros),
        **money("balance", moved.balance_micros),
        "idempotency_key": idempotency_key,
        "created_at": moment(moved.created_at),
    }
