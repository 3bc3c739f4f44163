"""`POST /api/user/deduct-credits`: for frontends that used to deduct by themselves."""

from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from services.api_edge.domain.bypass import bypass_of
from services.api_edge.domain.errors import BadInputError
from services.api_edge.ports import Billing
from services.api_edge.routes.amounts import Credits
from services.api_edge.routes.credits import balance_view
from services.api_edge.routes.docs import body_docs
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import IdempotencyKey, Input, Json, Shown, moment, money, read_body
from services.api_edge.use_cases.charge_feature import charge_feature
from services.api_edge.use_cases.read_receipt import ReadReceipt, RunReceipt
from shared.contracts.credits import Balance, CreditsMoved, DeductCredits
from shared.kernel.lengths import FEATURE_CHARS_MAX
from shared.kernel.money import credits_to_micros

_RETRY_S: Final = "1"


class FeatureBody(Input):
    """`credits`: as in a grant."""

    feature: Shown = Field(min_length=1, max_length=FEATURE_CHARS_MAX)
    credits: Credits
    idempotency_key: IdempotencyKey


class DeductionBody(Input):
    """The run that was deducted for, in either spelling; without one, all the others as of `FeatureBody`."""

    run_id: UUID | None = None
    camel: UUID | None = Field(default=None, validation_alias="runId")
    feature: Shown | None = Field(default=None, min_length=1, max_length=FEATURE_CHARS_MAX)
    credits: Credits | None = None
    idempotency_key: IdempotencyKey | None = None


def deductions_router(gate: Gate, billing: Billing, read_receipt: ReadReceipt) -> APIRouter:
    router = APIRouter(prefix="/api/user", tags=["credits"], dependencies=[BEARER, Depends(gate.signed_in)])

    @router.post("/deduct-credits", response_class=Json, openapi_extra=body_docs(DeductionBody))
    async def deduct_credits(request: Request) -> Json:
        """With a `run_id`: what billing did about the run, which is never charged again; 202 until it has
        seen it. Without: charge a feature, once an idempotency key.
        """
        caller = caller_of(request)
        run_id = _run_id(await read_body(request, DeductionBody))
        if run_id is None:
            body = await read_body(request, FeatureBody)
            moved = await charge_feature(_command(caller.user_id, body), billing=billing)
            return Json(_feature_view(body, moved, await billing.balance(caller.user_id)))
        request.state.run_id = run_id
        found = await read_receipt(caller, run_id)
        return _told(found, await billing.balance(caller.user_id))

    return router


def _run_id(body: DeductionBody) -> UUID | None:
    if body.run_id and body.camel and body.run_id != body.camel:
        raise BadInputError("spelled_twice", "run_id")
    return body.run_id or body.camel


def _command(user_id: str, body: FeatureBody) -> DeductCredits:
    return DeductCredits(
        user_id=user_id,
        feature=body.feature,
        amount_micros=credits_to_micros(body.credits),
        idempotency_key=body.idempotency_key,
    )


def _told(found: RunReceipt, balance: Balance) -> Json:
    answer = Json({**_run_view(found), **balance_view(balance)}, 200 if found.is_final else 202)
    if not found.is_final:
        answer.headers["Retry-After"] = _RETRY_S
    return answer


def _run_view(found: RunReceipt) -> dict[str, Any]:
    attempts = found.receipt.attempts
    bypass = bypass_of(attempts) if found.is_final else None
    charged = sum(attempt.charged_micros for attempt in attempts)
    return {
        "run_id": str(found.receipt.run_id),
        "status": "final" if found.is_final else "pending",
        "bypassed": bypass is not None if found.is_final else None,
        "reason": bypass,
        **money("charged", charged if found.is_final else None),
    }


def _feature_view(body: FeatureBody, moved: CreditsMoved, balance: Balance) -> dict[str, Any]:
    return {
        "transfer_id": str(moved.transfer_id),
        "feature": body.feature,
        "bypassed": False,
        "reason": None,
        **money("charged", -moved.amount_micros),
        **balance_view(balance),
        "idempotency_key": body.idempotency_key,
        "created_at": moment(moved.created_at),
    }
