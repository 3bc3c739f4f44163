"""What billing needs from outside. Amounts are integer credit micros; `raise`s are typed platform errors."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from services.billing.domain.hold import Admission, Hold
from services.billing.domain.movement import Movement, Postings
from services.billing.domain.settlement import Settlement
from shared.contracts.billing import ListUsage, ReceiptAttempt, UsagePage
from shared.contracts.credits import Balance, CreditsCharged, CreditsMoved, StatementPage
from shared.contracts.prices import PriceSet, SetPrice
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import KeyService, Unrated
from shared.kernel.prices import Price


@dataclass(frozen=True, slots=True)
class Usage:
    """A usage event, and its data as received: what is kept."""

    event: UsageRecorded
    raw: Mapping[str, Any]

    @property
    def run_attempt(self) -> tuple[UUID, int]:
        return self.event.run_id, self.event.attempt


@dataclass(frozen=True, slots=True)
class Entry:
    """A usage event as billed. `charged` is to be told when anything was."""

    usage: Usage
    cost_micros: int | None
    price_version: str | None
    unrated: Unrated | None
    settlement: Settlement
    charged: CreditsCharged | None


Settle: TypeAlias = Callable[[Usage, Hold | None], Entry]
Plan: TypeAlias = Callable[[Movement, Balance], Postings]


class LedgerStore(Protocol):
    """Holds, and the charges that settle them. Every method is one transaction.

    All raise DatabaseUnavailableError.
    """

    async def authorize(self, holds: Sequence[Hold]) -> list[Admission]:
        """Take what holds may be taken, in order; answer each, one taken before with what stands.

        All or nothing: raises InvalidRequestError when one cannot be kept.
        """
        ...

    async def record(self, usages: Sequence[Usage], settle: Settle) -> list[Entry]:
        """Keep the usages that are new by usage_id and (run, attempt); post what `settle` says of each.

        Returns the new ones. All or nothing: raises InvalidRequestError when one cannot be kept.
        """
        ...

    async def expire_holds(self, now: datetime) -> int:
        """Release the holds whose time is over; return how many."""
        ...


class CreditStore(Protocol):
    """What users have, and what is given to and taken from them by hand.

    All raise DatabaseUnavailableError.
    """

    async def move(self, movement: Movement, plan: Plan) -> CreditsMoved:
        """Post what `plan` says of the user's balance, once per idempotency key, and tell of it.

        Raises ConflictError when the key was used with other contents, and what `plan` raises.
        """
        ...

    async def balance(self, user_id: str) -> Balance:
        """Return a user's balance; zeros for one without an account."""
        ...

    async def statement(self, user_id: str, *, limit: int, cursor: str | None) -> StatementPage:
        """Return a user's entries, newest first. Raises InvalidRequestError for a cursor that is not ours."""
        ...


class UsageStore(Protocol):
    """Usage as billed. All raise DatabaseUnavailableError."""

    async def of_run(self, user_id: str, run_id: UUID) -> list[ReceiptAttempt]:
        """Return a run's attempts in order; none of another user's."""
        ...

    async def is_open(self, user_id: str, run_id: UUID) -> bool:
        """Say whether credits are held for a run; not for another user's."""
        ...

    async def page(self, request: ListUsage) -> UsagePage:
        """Return a page, newest first, and the totals. Raises InvalidRequestError for a foreign cursor."""
        ...


class PriceStore(Protocol):
    """Overrides of listed prices; every version stays. All raise DatabaseUnavailableError."""

    async def set(self, command: SetPrice, valid_from: datetime) -> PriceSet:
        """Add a version."""
        ...

    async def all(self, model: str | None) -> list[PriceSet]:
        """Return all versions, or one model's, newest first."""
        ...


class Outbox(Protocol):
    """Events written with the transaction that they tell of."""

    async def relay(self, publish: "PublishAll", *, limit: int) -> int:
        """Publish up to `limit` events that no other replica is publishing; forget those that went out.

        Returns how many went out. Raises BusUnavailableError when one did not, DatabaseUnavailableError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event as it waits: a whole CloudEvent as JSON text, under its own id."""

    event_id: UUID
    routing_key: str
    body: str


PublishAll: TypeAlias = Callable[[Sequence[Outgoing]], Awaitable[Sequence[UUID]]]
"""Publishes events on the exchange `usage`; returns those that the broker confirmed.

Raises BusUnavailableError."""


class PriceBook(Protocol):
    """Prices, in memory."""

    def find(self, provider: KeyService, model: str, at: datetime) -> Price | None:
        """Return a model's price at a time; None when it is unknown."""
        ...
