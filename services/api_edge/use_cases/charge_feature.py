"""Charge a named feature."""

from services.api_edge.domain.errors import MissingCreditsError
from services.api_edge.ports import Billing
from shared.contracts.credits import CreditsMoved, DeductCredits
from shared.kernel.errors import InsufficientCreditsError


async def charge_feature(command: DeductCredits, *, billing: Billing) -> CreditsMoved:
    """Charge it once a user and key. Raises MissingCreditsError, ConflictError, and as `Billing` does."""
    try:
        return await billing.deduct(command)
    except InsufficientCreditsError as error:
        balance = await billing.balance(command.user_id)
        available = balance.balance_micros - balance.held_micros
        missing = max(command.amount_micros - available, 0)  # 0: credits came in just now
        raise MissingCreditsError(missing, service=error.service) from None
