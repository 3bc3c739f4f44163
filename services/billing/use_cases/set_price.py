"""Override a model's listed price."""

from datetime import datetime

from services.billing.domain.price_versions import provider_of
from services.billing.ports import PriceStore
from shared.contracts.prices import PriceSet, SetPrice
from shared.kernel.errors import InvalidRequestError


async def set_price(request: SetPrice, *, price_store: PriceStore, now: datetime) -> PriceSet:
    """Add a version, from `valid_from` on or from now on; none that was set before changes.

    Raises InvalidRequestError for a time that has passed or an unknown provider, DatabaseUnavailableError.
    """
    provider_of(request.model)
    valid_from = now if request.valid_from is None else request.valid_from
    if valid_from < now:
        raise InvalidRequestError("valid_from: has passed, and what was rated stays rated")
    return await price_store.set(request, valid_from)
