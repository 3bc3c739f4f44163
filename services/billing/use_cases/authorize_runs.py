"""Hold the worst case of platform runs before their providers are called."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from services.billing.domain.hold import Admission, Hold
from services.billing.ports import LedgerStore, PriceBook
from shared.contracts.billing import AuthorizeRun, RunAuthorized
from shared.kernel.errors import PriceUnknownError
from shared.kernel.isolation import isolating
from shared.kernel.prices import Quote, Tariff

Answer: TypeAlias = RunAuthorized | Exception


async def authorize_runs(
    requests: Sequence[AuthorizeRun],
    *,
    ledger: LedgerStore,
    prices: PriceBook,
    tariff: Tariff,
    now: datetime,
) -> list[Answer]:
    """Answer each request with its hold, or with the error to raise.

    Those are PriceUnknownError, InsufficientCreditsError, ConflictError and InvalidRequestError.
    Raises DatabaseUnavailableError.
    """
    wanted = [_hold(request, prices, tariff, now) for request in requests]
    asked = [hold for hold in wanted if hold is not None]
    admissions = await isolating(asked, ledger.authorize)
    answers = map(_answer, admissions)
    return [_unpriced() if hold is None else next(answers) for hold in wanted]


def _hold(request: AuthorizeRun, prices: PriceBook, tariff: Tariff, now: datetime) -> Hold | None:
    price = prices.find(request.provider, request.model, now)
    if price is None:
        return None
    quote = Quote(price, tariff)
    return Hold(
        run_id=request.run_id,
        attempt=request.attempt,
        user_id=request.user_id,
        amount_micros=quote.worst_micros(request.prompt_tokens_max, request.completion_tokens_max),
        expires_at=request.expires_at,
        quote=quote,
    )


def _answer(admission: Admission | Exception) -> Answer:
    if isinstance(admission, Exception):
        return admission
    return RunAuthorized(
        hold_micros=admission.amount_micros, expires_at=admission.expires_at, quote=admission.quote
    )


def _unpriced() -> PriceUnknownError:
    return PriceUnknownError("this model has no known price")
