"""Give a user credits."""

from services.billing.ports import LedgerStore
from shared.contracts.credits import CreditsGranted, CreditsMoved, GrantCredits
from shared.kernel.ids import new_id


async def grant_credits(request: GrantCredits, *, ledger: LedgerStore) -> CreditsMoved:
    """Give them once per idempotency key. Raises ConflictError, DatabaseUnavailableError."""
    granted = CreditsGranted(
        transfer_id=new_id(),
        user_id=request.user_id,
        amount_micros=request.amount_micros,
        granted_by=request.granted_by,
    )
    return await ledger.grant(granted, request.idempotency_key)
