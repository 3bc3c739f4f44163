"""The usage event: what one attempt used. Immutable; its `usage_id` never changes across redeliveries."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.contracts.message import Message
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome, TokensSource
from shared.kernel.prices import Tokens


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


class UsageRecorded(Message):
    EXCHANGE = "usage"
    ROUTING_KEY = "usage.recorded.v1"

    usage_id: UUID
    run_id: UUID
    attempt: int = Field(ge=1)
    user_id: str
    flow: str
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
    """The provider's own name for the call, to ask its support about."""
    price_version: str | None = None
    cost_micros: int | None = None
    """What the attempt was worth at that price, in credit micros, whoever paid; None when tokens or price are
    unknown. A platform attempt's is the charge.
    """
    requested_at: AwareDatetime
    started_at: AwareDatetime
    finished_at: AwareDatetime
    queue_ms: int | None = None
    """From the request to the attempt's claim."""
    resolve_ms: int | None = None
    """For key_vault's answer; None when there was none."""
    first_token_ms: int | None = None
    """From the provider's call to the first piece of its answer."""
    total_ms: int | None = None
    """From the request to the attempt's end."""
