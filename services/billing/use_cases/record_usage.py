"""Bill usage events: rate them, settle or release their holds, post what they cost."""

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

from services.billing.domain.hold import Hold
from services.billing.domain.settlement import Settlement, charge_micros, settle
from services.billing.ports import Entry, LedgerStore, PriceBook, Settle, Usage
from shared.contracts.credits import CreditsCharged
from shared.contracts.usage import UsageRecorded, worth_micros
from shared.kernel.isolation import isolating
from shared.kernel.names import TokensSource, Unrated
from shared.kernel.prices import Quote, Tariff

Verdict: TypeAlias = Entry | Exception | None
"""Billed; why it could not be kept; or known already."""


async def record_usage(
    usages: Sequence[Usage], *, ledger: LedgerStore, prices: PriceBook, tariff: Tariff
) -> list[Verdict]:
    """Bill a batch in one transaction; return a verdict for each usage, in order.

    Raises DatabaseUnavailableError: those not billed yet may be tried again.
    """
    return await record_all(usages, ledger, partial(rate_usage, prices=prices, tariff=tariff))


async def record_all(usages: Sequence[Usage], ledger: LedgerStore, rate: Settle) -> list[Verdict]:
    """As `record_usage`, with what `rate` says of each usage and its hold."""

    async def record(part: Sequence[Usage]) -> list[Entry | None]:
        new = {id(entry.usage): entry for entry in await ledger.record(part, rate)}
        return [new.get(id(usage)) for usage in part]

    return await isolating(usages, record)


def rate_usage(usage: Usage, hold: Hold | None, *, prices: PriceBook, tariff: Tariff) -> Entry:
    """Price one usage event, by its hold's quote when it has one, and say who pays."""
    event = usage.event
    quote = _quote(event, _own(hold, event), prices, tariff)
    cost = worth_micros(event.outcome, event.key_source, event.tokens, quote)
    version = quote.price.version if quote is not None and cost is not None else None
    return bill(usage, hold, cost, version)


def bill(usage: Usage, hold: Hold | None, cost_micros: int | None, price_version: str | None) -> Entry:
    """Say who pays what an attempt cost, and out of what."""
    event = usage.event
    charge = charge_micros(event.key_source, event.policy, event.outcome, cost_micros)
    settlement = settle(charge, _own(hold, event))
    return Entry(
        usage=usage,
        cost_micros=cost_micros,
        price_version=price_version,
        unrated=None if cost_micros is not None else _unrated(event),
        settlement=settlement,
        charged=_charged(event, settlement, price_version),
    )


def _own(hold: Hold | None, event: UsageRecorded) -> Hold | None:
    return hold if hold is not None and hold.user_id == event.user_id else None


def _quote(event: UsageRecorded, hold: Hold | None, prices: PriceBook, tariff: Tariff) -> Quote | None:
    if hold is not None and hold.quote is not None:
        return hold.quote
    price = prices.find(event.provider, event.model, event.started_at)
    return None if price is None else Quote(price, tariff)


def _unrated(event: UsageRecorded) -> Unrated:
    is_counted = event.tokens.source is not TokensSource.UNKNOWN
    return Unrated.PRICE_UNKNOWN if is_counted else Unrated.TOKENS_UNKNOWN


def _charged(event: UsageRecorded, settlement: Settlement, version: str | None) -> CreditsCharged | None:
    if not settlement.charged_micros or version is None:
        return None
    return CreditsCharged(
        usage_id=event.usage_id,
        run_id=event.run_id,
        attempt=event.attempt,
        user_id=event.user_id,
        provider=event.provider,
        model=event.model,
        charged_micros=settlement.charged_micros,
        receivable_micros=settlement.receivable_micros,
        price_version=version,
    )
