"""Billing's ledger in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from services.billing.adapters.rows import outgoing
from services.billing.domain.hold import Admission, Hold, HoldState
from services.billing.domain.movement import Movement, event_of, keys
from services.billing.domain.settlement import is_byok
from services.billing.ports import Entry, Outgoing, Plan, PublishAll, Settle, Usage
from shared.contracts.credits import (
    Balance,
    CreditsMoved,
    StatementEntry,
    StatementPage,
)
from shared.contracts.message import Message
from shared.kernel.errors import (
    BusUnavailableError,
    ConflictError,
    DatabaseUnavailableError,
    InsufficientCreditsError,
    InvalidRequestError,
)
from shared.kernel.names import (
    TransferCause,
    TransferKind,
)
from tests.fakes.billing_events import load_event
from tests.fakes.billing_usage import InMemoryUsageStore, dump_place, load_place

Account = tuple[str, str]
"""Its kind, and its user: "" for the platform's own."""

_REVENUE: Account = ("revenue", "")
_MICROS_MAX = 2**63 - 1


@dataclass(frozen=True)
class Transfer:
    kind: TransferKind
    cause: TransferCause
    cause_id: UUID
    debit: Account
    credit: Account
    amount_micros: int
    key: str
    user_id: str
    run_id: UUID | None = None
    attempt: int | None = None
    reason: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def change(self, account: Account) -> int:
        return self.amount_micros * ((self.credit == account) - (self.debit == account))


class InMemoryLedgerStore(InMemoryUsageStore):
    """`LedgerStore`, `CreditStore`, `UsageStore` and `Outbox` over the same lists.

    Balances are summed, never kept. Every change is a transaction: all of it, or nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.transfers: list[Transfer] = []
        self.events: list[Outgoing] = []
        self.error: Exception | None = None
        """What every change raises at its beginning, while there is one."""
        self.torn = False
        """Whether the next change is lost just before its commit: DatabaseUnavailableError."""

    @property
    def messages(self) -> list[Message]:
        """What waits to be told."""
        return [load_event(event) for event in self.events]

    def posted(self, account: Account) -> int:
        return sum(transfer.change(account) for transfer in self.transfers)

    def held(self, user_id: str) -> int:
        return sum(
            hold.amount_micros
            for hold in self.holds.values()
            if hold.user_id == user_id and hold.state is HoldState.HELD
        )

    async def faults(self) -> list[str]:
        """What does not add up."""
        charged = sum(entry.settlement.charged_micros for entry in self.entries)
        paid = sum(t.amount_micros for t in self.transfers if t.cause is TransferCause.USAGE)
        users = {transfer.user_id for transfer in self.transfers}
        overdrawn = [user for user in users if self.posted(("user", user)) < self.held(user)]
        overpaid = [user for user in users if self.posted(("receivable", user)) > 0]
        found = {
            "charged differs from transfers": charged != paid,
            "overdrawn": overdrawn,
            "overpaid": overpaid,
        }
        return [fault for fault, is_there in found.items() if is_there]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self.error is not None:
            raise self.error
        before = (
            [*self.transfers],
            {**self.holds},
            [*self.entries],
            [*self.recorded_at],
            [*self.events],
        )
        try:
            yield
            self._commit()
        except Exception:
            self.transfers, self.holds, self.entries, self.recorded_at, self.events = before
            raise

    def _commit(self) -> None:
        if self.torn:
            self.torn = False
            raise DatabaseUnavailableError

    # -- LedgerStore --------------------------------------------------------------------------------------

    async def authorize(self, holds: Sequence[Hold]) -> list[Admission]:
        with self._transaction():
            return [self._admit(hold) for hold in holds]

    def _admit(self, hold: Hold) -> Admission:
        _check_keepable(hold.user_id)
        key = (hold.run_id, hold.attempt)
        standing = self.holds.get(key)
        if standing is None:
            if hold.amount_micros > self.posted(("user", hold.user_id)) - self.held(hold.user_id):
                return InsufficientCreditsError("not enough credits for this run")
            standing = self.holds[key] = hold
        if standing.user_id != hold.user_id or standing.state is not HoldState.HELD:
            return ConflictError("this attempt was authorized before, and is over")
        return standing

    async def record(self, usages: Sequence[Usage], settle: Settle) -> list[Entry]:
        with self._transaction():
            return [entry for usage in usages if (entry := self._record(usage, settle)) is not None]

    def _record(self, usage: Usage, settle: Settle) -> Entry | None:
        _check_keepable(usage.event.user_id, usage.event.model)
        kept = [entry.usage for entry in self.entries]
        if any(usage.run_attempt == k.run_attempt or usage.event.usage_id == k.event.usage_id for k in kept):
            return None
        entry = settle(usage, self.holds.get(usage.run_attempt))
        self._close(entry)
        self._charge(entry)
        self.entries.append(entry)
        self.recorded_at.append(datetime.now(UTC))
        if entry.charged is not None:
            self.events.append(outgoing(entry.charged))
        return entry

    def _close(self, entry: Entry) -> None:
        key, event = entry.usage.run_attempt, entry.usage.event
        if entry.settlement.hold_state is not None:
            self.holds[key] = replace(self.holds[key], state=entry.settlement.hold_state)
        elif not is_byok(event.key_source):
            self.holds.setdefault(
                key, Hold(*key, event.user_id, 0, event.finished_at, None, HoldState.RELEASED)
            )

    def _charge(self, entry: Entry) -> None:
        event, settlement = entry.usage.event, entry.settlement
        parts = {
            TransferKind.CHARGE: settlement.charged_micros - settlement.receivable_micros,
            TransferKind.RECEIVABLE: settlement.receivable_micros,
        }
        for kind, amount in parts.items():
            if amount:
                account = "user" if kind is TransferKind.CHARGE else "receivable"
                self.transfers.append(
                    Transfer(
                        kind=kind,
                        cause=TransferCause.USAGE,
                        cause_id=event.usage_id,
                        debit=(account, event.user_id),
                        credit=_REVENUE,
                        amount_micros=amount,
                        key=f"{kind}:{event.usage_id}",
                        user_id=event.user_id,
                        run_id=event.run_id,
                        attempt=event.attempt,
                    )
                )

    async def expire_holds(self, now: datetime) -> int:
        with self._transaction():
            over = {
                key: replace(hold, state=HoldState.EXPIRED)
                for key, hold in self.holds.items()
                if hold.state is HoldState.HELD and hold.expires_at <= now
            }
            self.holds.update(over)
            return len(over)

    # -- CreditStore --------------------------------------------------------------------------------------

    async def move(self, movement: Movement, plan: Plan) -> CreditsMoved:
        with self._transaction():
            _check_keepable(movement.user_id, movement.reason or "", movement.idempotency_key)
            if not any(transfer.key == movement.key for transfer in self.transfers):
                self._move(movement, plan)
            return self._moved(movement)

    def _move(self, movement: Movement, plan: Plan) -> None:
        postings = plan(movement, self._balance(movement.user_id))
        for posting, key in zip(postings, keys(movement, postings), strict=True):
            debit, credit = (_account(kind, movement.user_id) for kind in (posting.debit, posting.credit))
            self.transfers.append(
                Transfer(
                    kind=posting.kind,
                    cause=movement.cause,
                    cause_id=movement.transfer_id,
                    debit=debit,
                    credit=credit,
                    amount_micros=posting.amount_micros,
                    key=key,
                    user_id=movement.user_id,
                    run_id=movement.run_id,
                    reason=movement.reason,
                )
            )
        if self.posted(("user", movement.user_id)) > _MICROS_MAX:
            raise InvalidRequestError("cannot be kept")
        self.events.append(outgoing(event_of(movement, postings)))

    def _moved(self, movement: Movement) -> CreditsMoved:
        main = next(transfer for transfer in self.transfers if transfer.key == movement.key)
        parts = [transfer for transfer in self.transfers if transfer.cause_id == main.cause_id]
        user, receivable = ("user", main.user_id), ("receivable", main.user_id)
        owed = -sum(part.change(receivable) for part in parts)
        amount = sum(part.change(user) for part in parts) - owed
        made = (main.user_id, amount, main.reason, main.run_id)
        if made != (movement.user_id, movement.amount_micros, movement.reason, movement.run_id):
            raise ConflictError("this idempotency key was used with other contents")
        return CreditsMoved(
            transfer_id=main.cause_id,
            user_id=main.user_id,
            amount_micros=amount,
            receivable_micros=owed,
            balance_micros=self.posted(user),
            created_at=main.created_at,
        )

    async def balance(self, user_id: str) -> Balance:
        return self._balance(user_id)

    def _balance(self, user_id: str) -> Balance:
        return Balance(
            balance_micros=self.posted(("user", user_id)),
            held_micros=self.held(user_id),
            receivable_micros=-self.posted(("receivable", user_id)),
        )

    async def statement(self, user_id: str, *, limit: int, cursor: str | None) -> StatementPage:
        before = len(self.transfers) if cursor is None else load_place(cursor)
        mine = [
            place for place, transfer in enumerate(self.transfers[:before]) if transfer.user_id == user_id
        ]
        page = mine[::-1][:limit]
        return StatementPage(
            items=tuple(self._statement_entry(place) for place in page),
            next_cursor=dump_place(page[-1]) if len(mine) > limit else None,
        )

    def _statement_entry(self, place: int) -> StatementEntry:
        transfer = self.transfers[place]
        user, receivable = ("user", transfer.user_id), ("receivable", transfer.user_id)
        return StatementEntry(
            kind=transfer.kind,
            cause=transfer.cause,
            cause_id=transfer.cause_id,
            amount_micros=transfer.change(user),
            receivable_micros=-transfer.change(receivable),
            balance_micros=sum(earlier.change(user) for earlier in self.transfers[: place + 1]),
            run_id=transfer.run_id,
            attempt=transfer.attempt,
            reason=transfer.reason,
            created_at=transfer.created_at,
        )

    # -- Outbox -------------------------------------------------------------------------------------------

    async def relay(self, publish: PublishAll, *, limit: int) -> int:
        waiting = self.events[:limit]
        sent = set(await publish(waiting)) if waiting else set()
        self.events = [event for event in self.events if event.event_id not in sent]
        if len(sent) < len(waiting):
            raise BusUnavailableError
        return len(sent)


def _check_keepable(*texts: str) -> None:
    if any("\x00" in text for text in texts):
        raise InvalidRequestError("cannot be kept")


def _account(kind: str, user_id: str) -> Account:
    return kind, user_id if kind in {"user", "receivable"} else ""
