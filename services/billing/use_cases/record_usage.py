"""Bill usage events: rate them, settle or release their holds, post what they cost."""

from collections.abc import Sequence
from typing import TypeAlias

from services.billing.domain.hold import Hold
from services.billing.domain.settlement import Attempt, Settlement, settle
from services.billing.ports import Entry, LedgerStore, PriceBook, Usage
from services.billing.use_cases.isolation import isolating
from shared.contracts.credits import CreditsCharged
from shared.kernel.prices import Price, Tariff, Tokens

Verdict: TypeAlias = Entry | Exception | None
"""Billed; why it could not be kept; or known already."""


async def record_usage(
    usages: Sequence[Usage], *, ledger: LedgerStore, prices: PriceBook, tariff: Tariff
) -> list[Verdict]:
    """Bill a batch in one transaction; return a verdict for each usage, in order.

    Raises DatabaseUnavailableError: those not billed yet may be tried again.
    """

    def rate(usage: Usage, hold: Hold | None) -> Entry:
        return rate_usage(usage, hold, prices=prices, tariff=tariff)

    async def record(part: Sequence[Usage]) -> list[Entry | None]:
        new = {id(entry.usage): entry for entry in await ledger.record(part, rate)}
        return [new.get(id(usage)) for usage in part]

    return await isolating(usages, record)


def rate_usage(usage: Usage, hold: Hold | None, *, prices: PriceBook, tariff: Tariff) -> Entry:
    """Price one usage event, with the hold's price when it has a hold, and say who pays."""
    if hold is not None and hold.user_id != usage.event.user_id:
        hold = None
    attempt = _attempt(usage)
    price = _price(usage, hold, prices)
    cost = attempt.cost_micros(price, tariff)
    settlement = settle(cost if attempt.is_charged and cost is not None else 0, hold)
    version = price.version if price and cost is not None else None
    return Entry(
        usage=usage,
        cost_micros=cost,
        price_version=version,
        settlement=settlement,
        charged=_charged(usage, settlement, version),
    )


def _price(usage: Usage, hold: Hold | None, prices: PriceBook) -> Price | None:
    if hold is not None and hold.price is not None:
        return hold.price
    return prices.find(usage.event.provider, usage.event.model, usage.event.started_at)


def _attempt(usage: Usage) -> Attempt:
    event = usage.event
    counts = event.tokens
    return Attempt(
        key_source=event.key_source,
        policy=event.policy,
        outcome=event.outcome,
        tokens=Tokens(counts.prompt, counts.completion, counts.cached, counts.reasoning),
        tokens_source=counts.source,
    )


def _charged(usage: Usage, settlement: Settlement, version: str | None) -> CreditsCharged | None:
    if not settlement.charged_micros or version is None:
        return None
    event = usage.event
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
