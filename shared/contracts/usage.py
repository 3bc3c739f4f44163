"""The usage event: what one attempt used. Immutable; its `usage_id` never changes across redeliveries."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.contracts.message import Message
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome, TokensSource
from shared.kernel.prices import Quote, Tokens


class TokenCounts(BaseModel):
    """Tokens of one attempt; `cached` (read) and `cache_write` ⊆ `prompt`, `reasoning` ⊆ `completion`.

    All zero when `unknown`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: int = Field(default=0, ge=0)
    completion: int = Field(default=0, ge=0)
    cached: int = Field(default=0, ge=0)
    reasoning: int = Field(default=0, ge=0)
    cache_write: int = Field(default=0, ge=0)
    source: TokensSource = TokensSource.UNKNOWN

    @property
    def counted(self) -> Tokens:
        return Tokens(self.prompt, self.completion, self.cached, self.reasoning, self.cache_write)


def worth_micros(
    outcome: Outcome, key_source: KeySource | None, tokens: TokenCounts, quote: Quote | None
) -> int | None:
    """Return what an attempt was worth in credit micros, whoever pays; None when tokens or price are unknown.

    One that had no key, or ended before the provider was called, was worth nothing.
    """
    if key_source is None or not outcome.was_called:
        return 0
    if quote is None or tokens.source is TokensSource.UNKNOWN:
        return None
    return quote.cost_micros(tokens.counted)


class UsageRecorded(Message):
    """What one attempt used, whoever paid: no prompt, no answer, no key."""

    EXCHANGE = "usage"
    ROUTING_KEY = "usage.recorded.v1"

    usage_id: UUID
    run_id: UUID
    attempt: int = Field(ge=1)
    user_id: str
    flow: str
    session_id: str | None = None
    """The client's name for the runs that belong together."""
    policy: KeyPolicy
    key_source: KeySource | None
    """None when no key was resolved (outcome `refused`, `expired`, or lost before)."""
    credential_id: str | None = None
    credential_version: int | None = None
    consent_id: str | None = None
    """The decision that a fallback rests on; None when the key is the user's or the flow the platform's."""
    would_refuse_policy: KeyPolicy | None = None
    """The policy that would have refused this key, were it not only reported on."""
    service: KeyService | None = None
    """Whose API was called: the provider's, or `openrouter`/`gateway` on its behalf."""
    provider: KeyService
    model: str
    stream: bool
    outcome: Outcome
    error_code: str | None = None
    error_detail: str | None = None
    """A word of ours beside the code, such as `key_expired`; never a provider's."""
    retry_after_s: float | None = None
    """How long the provider asked to wait, with `provider_rate_limited`; how long a platform key is to rest,
    with `system_key_exhausted` (None: it is out).
    """
    tokens: TokenCounts = TokenCounts()
    provider_cost_usd: str | None = None
    """Decimal string, when the provider reports its own figure."""
    usage_raw: dict[str, Any] | None = None
    """The provider's usage object as received, so that it can be rated again."""
    provider_request_id: str | None = None
    """The provider's own name for the call, to ask its support about; printable, at most 128 characters."""
    price_version: str | None = None
    """Of the price that `cost_micros` comes from; None when nobody knew one in time."""
    cost_micros: int | None = None
    """What the attempt was worth at that price, in credit micros, whoever paid; None when tokens or price are
    unknown. A platform attempt's is the charge.
    """
    requested_at: AwareDatetime
    started_at: AwareDatetime
    finished_at: AwareDatetime
    queue_ms: int | None = None
    """From the request to the claim of its first attempt; None for later ones, which no queue held up."""
    resolve_ms: int | None = None
    """Until key_vault had answered with a key; None when it had none, or the worker was lost."""
    first_token_ms: int | None = None
    """From the provider's call to the first piece of its answer; not streamed, it comes in one."""
    total_ms: int | None = None
    """From the request to the attempt's end, the attempts before it included."""
