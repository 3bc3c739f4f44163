"""What billing needs from outside. Amounts are integer credit micros; `raise`s are typed platform errors."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from services.billing.domain.admission import Admission
from services.billing.domain.hold import Hold
from services.billing.domain.price import Price
from services.billing.domain.settlement import Settlement
from shared.contracts.billing import Balance, CreditsCharged, CreditsGranted, Grant, ReceiptAttempt
from shared.contracts.message import Message
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import KeyService


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
    settlement: Settlement
    charged: CreditsCharged | None


Settle: TypeAlias = Callable[[Usage, Hold | None], Entry]


class LedgerStore(Protocol):
    """Accounts, transfers and holds. Every method is one transaction.

    All raise DatabaseUnavailableError.
    """

    async def authorize(self, holds: Sequence[Hold]) -> list[Admission]:
        """Take what holds may be taken (see `admit`); answer each in order.

        All or nothing: raises InvalidRequestError when one cannot be kept.
        """
        ...

    async def record(self, usages: Sequence[Usage], settle: Settle) -> list[Entry]:
        """Keep the usages that are new by usage_id and (run, attempt); post what `settle` says of each.

        Returns the new ones. All or nothing: raises InvalidRequestError when one cannot be kept.
        """
        ...

    async def grant(self, granted: CreditsGranted, idempotency_key: str) -> Grant:
        """Give credits, once per key. Raises ConflictError when the key was used with other contents."""
        ...

    async def expire_holds(self, now: datetime) -> int:
        """Release the holds whose time is over; return how many."""
        ...

    async def balance(self, user_id: str) -> Balance:
        """Return a user's balance; zeros for one without an account."""
        ...


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a user's usage list."""

    recorded_at: datetime
    usage_id: UUID


class UsageStore(Protocol):
    """Usage as billed. All raise DatabaseUnavailableError."""

    async def of_run(self, user_id: str, run_id: UUID) -> list[ReceiptAttempt]:
        """Return a run's attempts in order; none of another user's."""
        ...

    async def of_user(
        self, user_id: str, *, limit: int, before: Position | None
    ) -> list[tuple[Position, ReceiptAttempt]]:
        """Return up to `limit` attempts older than `before`, newest first."""
        ...


class Outbox(Protocol):
    """Events written with the transaction that they tell of."""

    async def relay(self, publish: Callable[[UUID, Message], Awaitable[None]], *, limit: int) -> int:
        """Publish up to `limit` events that no other replica is publishing; forget those that went out.

        Returns how many went out. Raises what `publish` raised first, DatabaseUnavailableError.
        """
        ...


class Publisher(Protocol):
    """The bus, outwards."""

    async def publish(self, message: Message, *, event_id: str | None = None) -> None:
        """Return when the broker has it. Raises BusUnavailableError."""
        ...


class PriceBook(Protocol):
    """Prices, in memory."""

    def find(self, provider: KeyService, model: str, at: datetime) -> Price | None:
        """Return a model's price at a time; None when it is unknown."""
        ...
