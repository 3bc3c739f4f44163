"""Credits moved by hand: given, adjusted, deducted; and what that posts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from shared.contracts.credits import Balance, CreditsAdjusted, CreditsGranted
from shared.kernel.errors import InsufficientCreditsError
from shared.kernel.names import TransferCause, TransferKind


@dataclass(frozen=True, slots=True)
class Movement:
    """`amount_micros`: what the user is given, negative for what is taken.

    `reason`: a deduction's feature.
    """

    transfer_id: UUID
    cause: TransferCause
    user_id: str
    amount_micros: int
    idempotency_key: str
    made_by: str
    reason: str | None = None
    run_id: UUID | None = None

    @property
    def key(self) -> str:
        return movement_key(self.cause, self.user_id, self.idempotency_key)


@dataclass(frozen=True, slots=True)
class Posting:
    """One transfer between a user's account and the platform's; `amount_micros` > 0.

    `debit` and `credit` are kinds of accounts: user, receivable, revenue, grants.
    """

    kind: TransferKind
    debit: str
    credit: str
    amount_micros: int


Postings: TypeAlias = tuple[Posting, ...]
_Rule: TypeAlias = Callable[[int, Balance], Postings]


def movement_key(cause: TransferCause, user_id: str, idempotency_key: str) -> str:
    """Return what makes it one movement: a client's key is another for each cause, and each paying user."""
    if cause is TransferCause.DEDUCTION:
        user = user_id.replace("%", "%25").replace(":", "%3A")  # so that no two pairs are one key
        return f"{cause}:{user}:{idempotency_key}"
    return f"{cause}:{idempotency_key}"


def plan(movement: Movement, balance: Balance) -> Postings:
    """Return the transfers of a movement.

    Raises InsufficientCreditsError for a deduction beyond what is available.
    """
    return _RULES[movement.cause](movement.amount_micros, balance)


def keys(movement: Movement, postings: Postings) -> list[str]:
    """Return the postings' idempotency keys: the first has the movement's, the others their own."""
    derived = [f"{posting.kind}:{movement.transfer_id}" for posting in postings[1:]]
    return [movement.key, *derived]


def event_of(movement: Movement, postings: Postings) -> CreditsGranted | CreditsAdjusted:
    """Return what is told of a movement."""
    owed = receivable_change(postings)
    if movement.cause is TransferCause.GRANT:
        return CreditsGranted(
            transfer_id=movement.transfer_id,
            user_id=movement.user_id,
            amount_micros=movement.amount_micros,
            repaid_micros=-owed,
            granted_by=movement.made_by,
            idempotency_key=movement.idempotency_key,
        )
    return CreditsAdjusted(
        transfer_id=movement.transfer_id,
        user_id=movement.user_id,
        cause=movement.cause,
        amount_micros=movement.amount_micros,
        receivable_micros=owed,
        reason=movement.reason or "",
        run_id=movement.run_id,
        adjusted_by=movement.made_by,
        idempotency_key=movement.idempotency_key,
    )


def receivable_change(postings: Postings) -> int:
    """Return by how much what the user owes grows, in micros."""
    return sum(
        posting.amount_micros * ((posting.debit == "receivable") - (posting.credit == "receivable"))
        for posting in postings
    )


def _grant(amount: int, balance: Balance) -> Postings:
    given = Posting(TransferKind.GRANT, "grants", "user", amount)
    return (given, *_repayment(amount, balance))


def _adjustment(amount: int, balance: Balance) -> Postings:
    if amount > 0:
        given = Posting(TransferKind.ADJUSTMENT, "revenue", "user", amount)
        return (given, *_repayment(amount, balance))
    taken = min(-amount, balance.balance_micros - balance.held_micros)
    return _present(
        Posting(TransferKind.ADJUSTMENT, "user", "revenue", taken),
        Posting(TransferKind.RECEIVABLE, "receivable", "revenue", -amount - taken),
    )


def _deduction(amount: int, balance: Balance) -> Postings:
    if -amount > balance.balance_micros - balance.held_micros:
        raise InsufficientCreditsError("not enough credits for this feature")
    return (Posting(TransferKind.DEDUCTION, "user", "revenue", -amount),)


def _repayment(amount: int, balance: Balance) -> Postings:
    owed = min(amount, balance.receivable_micros)
    return _present(Posting(TransferKind.REPAYMENT, "user", "receivable", owed))


def _present(*postings: Posting) -> Postings:
    return tuple(posting for posting in postings if posting.amount_micros)


_RULES: dict[TransferCause, _Rule] = {
    TransferCause.GRANT: _grant,
    TransferCause.ADJUSTMENT: _adjustment,
    TransferCause.DEDUCTION: _deduction,
}
