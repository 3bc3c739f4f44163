"""From US$ to credits."""

from dataclasses import dataclass
from decimal import Decimal

from shared.kernel.money import usd_to_micros


@dataclass(frozen=True, slots=True)
class Tariff:
    """`credit_usd`: what one credit is worth in US$; `markup`: what a cost is multiplied by."""

    credit_usd: Decimal
    markup: Decimal

    def micros(self, usd: Decimal) -> int:
        """Return a cost in credit micros, rounded up."""
        return usd_to_micros(usd, credit_usd=self.credit_usd, markup=self.markup)
