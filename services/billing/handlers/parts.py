"""What the handlers work with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from services.billing.ports import CreditStore, LedgerStore, PriceBook, PriceStore, UsageStore
from shared.kernel.prices import Tariff


@dataclass(frozen=True)
class Parts:
    """`wake` is called when there are new events to publish."""

    ledger: LedgerStore
    credits: CreditStore
    usage: UsageStore
    prices: PriceBook
    price_store: PriceStore
    tariff: Tariff
    now: Callable[[], datetime]
    wake: Callable[[], None]
