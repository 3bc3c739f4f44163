"""Messages about credits: what a user has, what is given, adjusted and deducted. Integer credit micros."""

from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, Field

from shared.contracts.answer import Answer
from shared.contracts.message import Message
from shared.contracts.rpc import Request
from shared.kernel.lengths import (
    FEATURE_CHARS_MAX,
    IDEMPOTENCY_KEY_CHARS_MAX,
    REASON_CHARS_MAX,
    USER_ID_CHARS_MAX,
)
from shared.kernel.names import KeyService, TransferCause, TransferKind

MICROS_MAX: Final = 10**15
"""The most that one command may move."""


class GrantCredits(Request):
    """Gives credits; what the user owes is paid first. Answered with `CreditsMoved`.

    Idempotent by `idempotency_key`; the same key with other contents is a `conflict`.
    """

    ROUTING_KEY = "billing.grant.v1"

    user_id: str = Field(min_length=1, max_length=USER_ID_CHARS_MAX)
    amount_micros: int = Field(gt=0, le=MICROS_MAX)
    idempotency_key: str = Field(min_length=1, max_length=IDEMPOTENCY_KEY_CHARS_MAX)
    granted_by: str


class AdjustCredits(Request):
    """Corrects a balance by a new entry. Answered with `CreditsMoved`; idempotent as `GrantCredits`.

    What is given pays what the user owes first; of what is taken, the user owes what is not available.
    """

    ROUTING_KEY = "billing.adjust.v1"

    user_id: str = Field(min_length=1, max_length=USER_ID_CHARS_MAX)
    amount_micros: int = Field(ge=-MICROS_MAX, le=MICROS_MAX)
    """More than 0 gives, less takes; never 0."""
    reason: str = Field(min_length=1, max_length=REASON_CHARS_MAX)
    run_id: UUID | None = None
    """The run whose charge it corrects."""
    idempotency_key: str = Field(min_length=1, max_length=IDEMPOTENCY_KEY_CHARS_MAX)
    adjusted_by: str


class DeductCredits(Request):
    """Charges a named feature to its user. Answered with `CreditsMoved`.

    Idempotent by user and `idempotency_key`. Raises `insufficient_credits`, `conflict`.
    """

    ROUTING_KEY = "billing.deduct.v1"

    user_id: str
    feature: str = Field(min_length=1, max_length=FEATURE_CHARS_MAX)
    amount_micros: int = Field(gt=0, le=MICROS_MAX)
    idempotency_key: str = Field(min_length=1, max_length=IDEMPOTENCY_KEY_CHARS_MAX)


class CreditsMoved(Answer):
    """A grant, adjustment or deduction as it was made, once, whoever asks again.

    `amount_micros`: what the user was given (negative: what was taken); `receivable_micros`: by how much what
    the user owes has changed; `balance_micros`: what is posted by now.
    """

    transfer_id: UUID
    user_id: str
    amount_micros: int
    receivable_micros: int
    balance_micros: int
    created_at: AwareDatetime


class GetBalance(Request):
    """What a user has, holds and owes. Answered with `Balance`."""

    ROUTING_KEY = "billing.balance.v1"

    user_id: str


class Balance(Answer):
    """`balance` is what is posted, `held` the part of it under holds, `receivable` what the user owes."""

    balance_micros: int
    held_micros: int
    receivable_micros: int


class ListStatement(Request):
    """The entries of a user's account."""

    ROUTING_KEY = "billing.statement.v1"

    user_id: str
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = None


class StatementEntry(Answer):
    """One transfer, as it changed what the user has (`amount_micros`) and owes (`receivable_micros`).

    `balance_micros`: what was posted after it.
    """

    kind: TransferKind
    cause: TransferCause
    cause_id: UUID
    amount_micros: int
    receivable_micros: int
    balance_micros: int
    run_id: UUID | None
    attempt: int | None
    reason: str | None
    created_at: AwareDatetime


class StatementPage(Answer):
    """Newest first."""

    items: tuple[StatementEntry, ...]
    next_cursor: str | None


class CreditsCharged(Message):
    """A platform attempt was paid for. `receivable_micros` is the part that no hold covered."""

    EXCHANGE = "usage"
    ROUTING_KEY = "credits.charged.v1"

    usage_id: UUID
    run_id: UUID
    attempt: int
    user_id: str
    provider: KeyService
    model: str
    charged_micros: int
    receivable_micros: int
    price_version: str


class CreditsGranted(Message):
    """`repaid_micros` of the grant paid what the user owed; the rest raised the balance."""

    EXCHANGE = "usage"
    ROUTING_KEY = "credits.granted.v1"

    transfer_id: UUID
    user_id: str
    amount_micros: int
    repaid_micros: int = 0
    granted_by: str
    idempotency_key: str | None = None
    """The one it was asked for with, so that a restored ledger knows it; None from older services."""


class CreditsAdjusted(Message):
    """A balance was corrected (`cause` adjustment), or a feature charged (`deduction`, `reason` its name).

    Amounts as in `CreditsMoved`.
    """

    EXCHANGE = "usage"
    ROUTING_KEY = "credits.adjusted.v1"

    transfer_id: UUID
    user_id: str
    cause: TransferCause
    amount_micros: int
    receivable_micros: int
    reason: str
    run_id: UUID | None = None
    adjusted_by: str
    idempotency_key: str | None = None
    """As in `CreditsGranted`."""
