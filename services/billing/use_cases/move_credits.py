"""Move credits by hand: grants, adjustments, deductions."""

from services.billing.domain.movement import Movement, plan
from services.billing.ports import CreditStore
from shared.contracts.credits import AdjustCredits, CreditsMoved, DeductCredits, GrantCredits
from shared.kernel.errors import InvalidRequestError
from shared.kernel.ids import new_id
from shared.kernel.names import TransferCause


async def grant_credits(request: GrantCredits, *, credit_store: CreditStore) -> CreditsMoved:
    """Give credits once per key. Raises ConflictError, InvalidRequestError, DatabaseUnavailableError."""
    movement = Movement(
        transfer_id=new_id(),
        cause=TransferCause.GRANT,
        user_id=request.user_id,
        amount_micros=request.amount_micros,
        idempotency_key=request.idempotency_key,
        made_by=request.granted_by,
    )
    return await credit_store.move(movement, plan)


async def adjust_credits(request: AdjustCredits, *, credit_store: CreditStore) -> CreditsMoved:
    """Correct a balance once per key. Raises as `grant_credits`; InvalidRequestError for nothing, too."""
    if request.amount_micros == 0:
        raise InvalidRequestError("an adjustment moves something")
    movement = Movement(
        transfer_id=new_id(),
        cause=TransferCause.ADJUSTMENT,
        user_id=request.user_id,
        amount_micros=request.amount_micros,
        idempotency_key=request.idempotency_key,
        made_by=request.adjusted_by,
        reason=request.reason,
        run_id=request.run_id,
    )
    return await credit_store.move(movement, plan)


async def deduct_credits(request: DeductCredits, *, credit_store: CreditStore) -> CreditsMoved:
    """Charge a feature once per user and key. Raises as `grant_credits`, and InsufficientCreditsError."""
    movement = Movement(
        transfer_id=new_id(),
        cause=TransferCause.DEDUCTION,
        user_id=request.user_id,
        amount_micros=-request.amount_micros,
        idempotency_key=request.idempotency_key,
        made_by=request.user_id,
        reason=request.feature,
    )
    return await credit_store.move(movement, plan)
