"""Messages about runs as billed: holds, receipts, usage. Amounts are integer credit micros."""

from uuid import UUID

from pydantic import AwareDatetime, Field

from shared.contracts.answer import Answer
from shared.contracts.rpc import Request
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import KeyService, KeySource, Unrated
from shared.kernel.prices import Quote


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


class RunAuthorized(Answer):
    """`quote`: what the attempt will be rated with."""

    hold_micros: int
    expires_at: AwareDatetime
    quote: Quote | None = None


class ReceiptAttempt(Answer):
    """One attempt as billed: what it was worth, and what the user paid (0 for BYOK)."""

    usage: UsageRecorded
    cost_micros: int | None
    """None when it is not known; `unrated` says why."""
    charged_micros: int
    price_version: str | None = None
    """What its cost was rated with."""
    unrated: Unrated | None = None


class GetReceipt(Request):
    """All attempts of one run of this user that billing has seen; none is an empty receipt."""

    ROUTING_KEY = "billing.receipt.v1"

    user_id: str
    run_id: UUID


class Receipt(Answer):
    """`is_open`: credits are held for an attempt that is not among these yet."""

    run_id: UUID
    attempts: tuple[ReceiptAttempt, ...]
    is_open: bool = False


class ListUsage(Request):
    """Attempts and their totals; of everybody when there is no `user_id`. `since` ≤ recorded < `until`."""

    ROUTING_KEY = "billing.usage.v1"

    user_id: str | None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    flow: str | None = None
    model: str | None = None
    key_source: KeySource | None = None
    session_id: str | None = None
    excluding_run: UUID | None = None
    """What else there is, whether billing has seen this run or not."""
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = None


class UsageTotals(Answer):
    """Over everything asked for, not only the page. `keyed_attempts` had a key (an older billing does
    not say); `cost_micros` leaves out the `unrated` ones.
    """

    runs: int
    attempts: int
    keyed_attempts: int | None = None
    byok_attempts: int
    unrated_attempts: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_micros: int
    charged_micros: int


class UsagePage(Answer):
    """Newest first."""

    items: tuple[ReceiptAttempt, ...]
    next_cursor: str | None
    totals: UsageTotals
