"""The settings of billing, from `LATCHKEY_…`."""

from decimal import Decimal

from pydantic import Field

from shared.kernel.prices import Tariff
from shared.runtime.settings import ServiceSettings


class BillingSettings(ServiceSettings):
    """`credit_usd`: US$ per credit. `markup`: what costs are multiplied by."""

    credit_usd: Decimal = Field(default=Tariff().credit_usd, gt=0)
    markup: Decimal = Field(default=Tariff().markup, ge=0)
