"""Billing's ports in memory, and makers of what they take."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.billing.domain.admission import Admission, admit
from services.billing.domain.hold import Hold, HoldState
from services.billing.ports import Entry, Position, Settle, Usage
from shared.contracts.billing import AuthorizeRun, ReceiptAttempt
from shared.contracts.credits import Balance, CreditsGranted, CreditsMoved
from shared.contracts.message import Message
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.errors import ConflictError, InvalidRequestError
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome, TokensSource
from shared.kernel.prices import Price, Rate, Tariff

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TARIFF = Tariff(Decimal("0.01"), Decimal(1))
MODEL = "openai/gpt-4o-mini"
PRICE = Price("v1", Rate(Decimal(1)), Rate(Decimal(2)))
"""100 micros a prompt token and 200 a completion token, by TARIFF."""


@dataclass
class InMemoryPriceBook:
    """The same price for every model in it."""

    prices: dict[str, Price] = field(default_factory=lambda: {MODEL: PRICE})

    def find(self, _provider: KeyService, model: str, _at: datetime) -> Price | None:
        return self.prices.get(model)


@dataclass(frozen=True)
class Transfer:
    kind: str
    debit: tuple[str, str]
    credit: tuple[str, str]
    amount: int
    key: str
    id: UUID = field(default_factory=new_id)


_REVENUE = ("revenue", "")
_GRANTS = ("grants", "")


class InMemoryLedgerStore:
    """`LedgerStore`, `UsageStore` and `Outbox` over the same lists. Balances are summed, never kept."""

    def __init__(self) -> None:
        self.transfers: list[Transfer] = []
        self.holds: dict[tuple[UUID, int], Hold] = {}
        self.entries: list[tuple[Position, Entry]] = []
        self.events: list[tuple[UUID, Message]] = []
        self.error: Exception | None = None
        """What `authorize` and `record` raise, while there is one."""

    def posted(self, account: tuple[str, str]) -> int:
        return sum(
            transfer.amount * ((transfer.credit == account) - (transfer.debit == account))
            for transfer in self.transfers
        )

    def held(self, user_id: str) -> int:
        return sum(
            hold.amount_micros
            for hold in self.holds.values()
            if hold.user_id == user_id and hold.state is HoldState.HELD
        )

    async def faults(self) -> list[str]:
        """What does not add up."""
        charged = sum(entry.settlement.charged_micros for _, entry in self.entries)
        return [] if charged == self.posted(_REVENUE) else ["charged differs from revenue"]

    # -- LedgerStore --------------------------------------------------------------------------------------

    async def authorize(self, holds: Sequence[Hold]) -> list[Admission]:
        if self.error is not None:
            raise self.error
        if any("\x00" in hold.user_id for hold in holds):
            raise InvalidRequestError("cannot be kept")
        users = {hold.user_id for hold in holds}
        available = {user: self.posted(("user", user)) - self.held(user) for user in users}
        answers = admit(holds, self.holds, available)
        self.holds |= {(h.run_id, h.attempt): h for h in answers if isinstance(h, Hold)}
        return answers

    async def record(self, usages: Sequence[Usage], settle: Settle) -> list[Entry]:
        if self.error is not None:
            raise self.error
        if any("\x00" in usage.event.model for usage in usages):
            raise InvalidRequestError("cannot be kept")
        return [entry for usage in usages if (entry := self._record(usage, settle)) is not None]

    def _record(self, usage: Usage, settle: Settle) -> Entry | None:
        kept = [entry.usage for _, entry in self.entries]
        if any(usage.run_attempt == k.run_attempt or usage.event.usage_id == k.event.usage_id for k in kept):
            return None
        entry = settle(usage, self.holds.get(usage.run_attempt))
        self._close(entry)
        self._post(entry)
        self.entries.append((Position(NOON + timedelta(seconds=len(kept)), usage.event.usage_id), entry))
        if entry.charged is not None:
            self.events.append((new_id(), entry.charged))
        return entry

    def _close(self, entry: Entry) -> None:
        key, event = entry.usage.run_attempt, entry.usage.event
        if entry.settlement.hold_state is not None:
            self.holds[key] = replace(self.holds[key], state=entry.settlement.hold_state)
        elif event.key_source in {KeySource.PLATFORM, KeySource.TEAM_GATEWAY}:
            self.holds.setdefault(key, Hold(*key, event.user_id, 0, NOON, None, HoldState.RELEASED))

    def _post(self, entry: Entry) -> None:
        event, charged, owed = (
            entry.usage.event,
            entry.settlement.charged_micros,
            entry.settlement.receivable_micros,
        )
        parts = {"charge": charged - owed, "receivable": owed}
        for kind, amount in parts.items():
            if amount:
                account = "user" if kind == "charge" else "receivable"
                key = f"{kind}:{event.usage_id}"
                self.transfers.append(Transfer(kind, (account, event.user_id), _REVENUE, amount, key))

    async def grant(self, granted: CreditsGranted, idempotency_key: str) -> CreditsMoved:
        key = f"grant:{idempotency_key}"
        user = ("user", granted.user_id)
        given = next((transfer for transfer in self.transfers if transfer.key == key), None)
        if given is None:
            given = Transfer("grant", _GRANTS, user, granted.amount_micros, key, granted.transfer_id)
            self.transfers.append(given)
            self.events.append((new_id(), granted))
        if (given.credit, given.amount) != (user, granted.amount_micros):
            raise ConflictError
        return CreditsMoved(
            transfer_id=given.id,
            user_id=granted.user_id,
            amount_micros=given.amount,
            balance_micros=self.posted(user),
            created_at=NOON,
        )

    async def expire_holds(self, now: datetime) -> int:
        over = {
            key: replace(hold, state=HoldState.EXPIRED)
            for key, hold in self.holds.items()
            if hold.state is HoldState.HELD and hold.expires_at <= now
        }
        self.holds.update(over)
        return len(over)

    async def balance(self, user_id: str) -> Balance:
        return Balance(
            balance_micros=self.posted(("user", user_id)),
            held_micros=self.held(user_id),
            receivable_micros=-self.posted(("receivable", user_id)),
        )

    # -- UsageStore ---------------------------------------------------------------------------------------

    async def of_run(self, user_id: str, run_id: UUID) -> list[ReceiptAttempt]:
        found = [entry for _, entry in self.entries if entry.usage.event.run_id == run_id]
        mine = [entry for entry in found if entry.usage.event.user_id == user_id]
        return [_attempt(entry) for entry in sorted(mine, key=lambda entry: entry.usage.event.attempt)]

    async def of_user(
        self, user_id: str, *, limit: int, before: Position | None
    ) -> list[tuple[Position, ReceiptAttempt]]:
        newest_first = sorted(self.entries, key=lambda kept: _order(kept[0]), reverse=True)
        mine = [
            (position, _attempt(entry))
            for position, entry in newest_first
            if entry.usage.event.user_id == user_id and (before is None or _order(position) < _order(before))
        ]
        return mine[:limit]

    # -- Outbox -------------------------------------------------------------------------------------------

    async def relay(self, publish: Callable[[UUID, Message], Awaitable[None]], *, limit: int) -> int:
        sent = 0
        for event_id, message in self.events[:limit]:
            await publish(event_id, message)
            self.events.remove((event_id, message))
            sent += 1
        return sent


def _order(position: Position) -> tuple[datetime, UUID]:
    return position.recorded_at, position.usage_id


def _attempt(entry: Entry) -> ReceiptAttempt:
    return ReceiptAttempt(
        usage=entry.usage.event,
        cost_micros=entry.cost_micros,
        charged_micros=entry.settlement.charged_micros,
    )


class InMemoryPublisher:
    """Keeps what was published. With an `error`, refuses."""

    def __init__(self) -> None:
        self.published: list[tuple[str | None, Message]] = []
        self.error: Exception | None = None

    async def publish(self, message: Message, *, event_id: str | None = None) -> None:
        if self.error is not None:
            raise self.error
        self.published.append((event_id, message))


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
        price=PRICE,
    )
    return replace(hold, **changes)


def granted(user_id: str, amount_micros: int) -> CreditsGranted:
    return CreditsGranted(
        transfer_id=new_id(), user_id=user_id, amount_micros=amount_micros, granted_by="root"
    )


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
