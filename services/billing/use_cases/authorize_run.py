"""Hold the worst case of a platform run before the provider is called."""

from datetime import datetime

from services.billing.domain.hold import Hold
from services.billing.domain.tariff import Tariff
from services.billing.ports import LedgerStore, PriceBook
from shared.contracts.billing import AuthorizeRun, RunAuthorized
from shared.kernel.errors import PriceUnknownError


async def authorize_run(
    request: AuthorizeRun, *, ledger: LedgerStore, prices: PriceBook, tariff: Tariff, now: datetime
) -> RunAuthorized:
    """Raise PriceUnknownError, InsufficientCreditsError, ConflictError, DatabaseUnavailableError."""
    price = prices.find(request.provider, request.model, now)
    if price is None:
        raise PriceUnknownError("this model has no known price")
    worst_usd = price.worst_usd(request.prompt_tokens_max, request.completion_tokens_max)
    hold = await ledger.authorize(
        Hold(
            run_id=request.run_id,
            attempt=request.attempt,
            user_id=request.user_id,
            amount_micros=tariff.micros(worst_usd),
            expires_at=request.expires_at,
            price=price,
        )
    )
    return RunAuthorized(hold_micros=hold.amount_micros, expires_at=hold.expires_at)
