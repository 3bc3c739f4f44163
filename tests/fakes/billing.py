"""Billing's ports in memory, and makers of what they take."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.billing.domain.hold import Hold
from services.billing.domain.movement import Movement
from services.billing.ports import Entry, Outgoing, Usage
from services.billing.use_cases.record_usage import rate_usage
from shared.contracts.billing import AuthorizeRun
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import (
    KeyPolicy,
    KeyService,
    KeySource,
    Outcome,
    TokensSource,
    TransferCause,
)
from shared.kernel.prices import Price, Quote, Rate, Tariff

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TARIFF = Tariff(Decimal("0.01"), Decimal(1))
MODEL = "openai/gpt-4o-mini"
PRICE = Price("v1", Rate(Decimal(1)), Rate(Decimal(2)))
QUOTE = Quote(PRICE, TARIFF)
"""100 micros a prompt token and 200 a completion token."""


@dataclass
class InMemoryPriceBook:
    """The same price for every model in it."""

    prices: dict[str, Price] = field(default_factory=lambda: {MODEL: PRICE})

    def find(self, _provider: KeyService, model: str, _at: datetime) -> Price | None:
        return self.prices.get(model)


def rated(one: Usage, hold: Hold | None) -> Entry:
    """What a ledger is told to post: by PRICE, or the hold's quote."""
    return rate_usage(one, hold, prices=InMemoryPriceBook(), tariff=TARIFF)


class InMemoryPublisher:
    """Publishes all at once. With an `error`, refuses; `refused`: how many of the last are not confirmed."""

    def __init__(self) -> None:
        self.published: list[Outgoing] = []
        self.error: Exception | None = None
        self.refused = 0

    async def publish_all(self, events: Sequence[Outgoing]) -> list[UUID]:
        if self.error is not None:
            raise self.error
        confirmed = events[: len(events) - self.refused]
        self.published += confirmed
        return [event.event_id for event in confirmed]


def usage_event(**changes: Any) -> UsageRecorded:
    """A completed platform attempt of 10 prompt and 5 completion tokens: 2,000 micros by PRICE."""
    values: dict[str, Any] = {
        "usage_id": new_id(),
        "run_id": new_id(),
        "attempt": 1,
        "user_id": "ada",
        "flow": "chat",
        "policy": KeyPolicy.USER_KEY_PREFERRED,
        "key_source": KeySource.PLATFORM,
        "service": KeyService.OPENAI,
        "provider": KeyService.OPENAI,
        "model": MODEL,
        "stream": False,
        "outcome": Outcome.COMPLETED,
        "tokens": TokenCounts(prompt=10, completion=5, source=TokensSource.MEASURED),
        "requested_at": NOON,
        "started_at": NOON,
        "finished_at": NOON,
    }
    return UsageRecorded(**(values | changes))


def usage(**changes: Any) -> Usage:
    event = usage_event(**changes)
    return Usage(event, event.model_dump(mode="json"))


def hold_for(event: UsageRecorded, amount_micros: int, **changes: Any) -> Hold:
    """A hold that the event's attempt may settle."""
    hold = Hold(
        run_id=event.run_id,
        attempt=event.attempt,
        user_id=event.user_id,
        amount_micros=amount_micros,
        expires_at=datetime.now(UTC) + timedelta(minutes=5),
        quote=QUOTE,
    )
    return replace(hold, **changes)


def grant(user_id: str, amount_micros: int, key: str | None = None) -> Movement:
    return movement(TransferCause.GRANT, user_id, amount_micros, idempotency_key=key or str(new_id()))


def movement(cause: TransferCause, user_id: str, amount_micros: int, **changes: Any) -> Movement:
    """Credits moved by hand; `amount_micros` as the user sees it."""
    made = Movement(
        transfer_id=new_id(),
        cause=cause,
        user_id=user_id,
        amount_micros=amount_micros,
        idempotency_key=str(new_id()),
        made_by="root",
        reason=None if cause is TransferCause.GRANT else "because",
    )
    return replace(made, **changes)


def authorization(**changes: Any) -> AuthorizeRun:
    """Asks for at most 10 prompt and 5 completion tokens: 2,000 micros by PRICE."""
    values: dict[str, Any] = {
        "run_id": new_id(),
        "attempt": 1,
        "user_id": "ada",
        "provider": KeyService.OPENAI,
        "model": MODEL,
        "prompt_tokens_max": 10,
        "completion_tokens_max": 5,
        "expires_at": datetime.now(UTC) + timedelta(minutes=5),
    }
    return AuthorizeRun(**(values | changes))
