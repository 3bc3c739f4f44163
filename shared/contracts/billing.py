"""Messages of billing. Amounts are integer credit micros."""

from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.contracts.message import Message
from shared.contracts.rpc import Request
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import KeyService


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class AuthorizeRun(Request):
    """Asks for a hold of the worst case. Idempotent by (run_id, attempt).

    Raises `insufficient_credits`, `price_unknown`.
    """

    ROUTING_KEY = "billing.authorize.v1"

    run_id: UUID
    attempt: int = Field(ge=1)
    user_id: str
    provider: KeyService
    model: str
    prompt_tokens_max: int = Field(ge=0)
    completion_tokens_max: int = Field(ge=0)
    expires_at: AwareDatetime


class RunAuthorized(_Answer):
    hold_micros: int
    expires_at: AwareDatetime


class GrantCredits(Request):
    """Idempotent by `idempotency_key`; the same key with other contents is a `conflict`."""

    ROUTING_KEY = "billing.grant.v1"

    user_id: str = Field(min_length=1, max_length=128)
    amount_micros: int = Field(gt=0, le=10**15)
    idempotency_key: str = Field(min_length=1, max_length=200)
    granted_by: str


class Grant(_Answer):
    transfer_id: UUID
    user_id: str
    amount_micros: int
    balance_micros: int
    created_at: AwareDatetime


class GetBalance(Request):
    ROUTING_KEY = "billing.balance.v1"

    user_id: str


class Balance(_Answer):
    """`balance` is what is posted, `held` the part of it under holds, `receivable` what the user owes."""

    balance_micros: int
    held_micros: int
    receivable_micros: int


class ReceiptAttempt(_Answer):
    """One attempt as billed: what it was worth, and what the user paid (0 for BYOK)."""

    usage: UsageRecorded
    cost_micros: int | None
    """None when the price is unknown."""
    charged_micros: int


class GetReceipt(Request):
    """All attempts of one run of this user that billing has seen; none is an empty receipt."""

    ROUTING_KEY = "billing.receipt.v1"

    user_id: str
    run_id: UUID


class Receipt(_Answer):
    run_id: UUID
    attempts: tuple[ReceiptAttempt, ...]


class ListUsage(Request):
    ROUTING_KEY = "billing.usage.v1"

    user_id: str
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = None


class UsagePage(_Answer):
    """Newest first."""

    items: tuple[ReceiptAttempt, ...]
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
    EXCHANGE = "usage"
    ROUTING_KEY = "credits.granted.v1"

    transfer_id: UUID
    user_id: str
    amount_micros: int
    granted_by: str
