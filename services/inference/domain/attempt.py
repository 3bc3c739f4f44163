"""One attempt: what is known of it while it runs, how it ended, and the usage event that says so."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from shared.contracts.usage import TokenCounts, UsageRecorded, worth_micros
from shared.kernel.errors import PlatformError, ProviderRateLimitedError, SystemKeyExhaustedError
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome
from shared.kernel.prices import Quote

_RESTING: Final = (ProviderRateLimitedError, SystemKeyExhaustedError)
"""What a key may get over by a rest."""


@dataclass(frozen=True, slots=True)
class KeyUsed:
    """Which credential an attempt uses. `service`: whose API is called.

    `would_refuse_policy`: the policy that is only reported on, and would have refused it.
    """

    source: KeySource
    credential_id: str
    service: KeyService
    consent_id: str | None = None
    credential_version: int | None = None
    would_refuse_policy: KeyPolicy | None = None


@dataclass(slots=True)
class PriceAsked:
    """A price that was asked for: `quote` is None until it is known, and for a model without one.

    `last` is what the model had before, and stands in until then.
    """

    quote: Quote | None = None
    last: Quote | None = None

    @property
    def best(self) -> Quote | None:
        return self.quote or self.last

    def is_now(self, quote: Quote | None) -> None:
        self.quote, self.last = quote, None


@dataclass(slots=True)
class Attempt:
    """A claimed attempt. `worker` holds it; `key` is None until one is resolved, which took `resolve_ms`;
    `price`: what it will be rated with.
    """

    run_id: UUID
    number: int
    usage_id: UUID
    worker: str
    claimed_at: datetime
    key: KeyUsed | None = None
    resolve_ms: int | None = None
    price: PriceAsked | None = None

    @property
    def quote(self) -> Quote | None:
        """What is known of its price by now, of old if need be."""
        return self.price.best if self.price else None


class RunAsked(Protocol):
    """What a usage event tells of a run: of its request, or of what an attempt's row keeps of that."""

    @property
    def user_id(self) -> str: ...
    @property
    def flow(self) -> str: ...
    @property
    def session_id(self) -> str | None: ...
    @property
    def policy(self) -> KeyPolicy: ...
    @property
    def provider(self) -> KeyService: ...
    @property
    def model(self) -> str: ...
    @property
    def stream(self) -> bool: ...
    @property
    def requested_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended. `curable`: another credential could do better, nothing was relayed yet."""

    outcome: Outcome
    error: PlatformError | None = None
    tokens: TokenCounts = field(default_factory=TokenCounts)
    usage_raw: dict[str, Any] | None = None
    provider_cost_usd: str | None = None
    provider_request_id: str | None = None
    first_token_ms: int | None = None
    curable: bool = False
    response: str | None = None


def usage_event(run: RunAsked, attempt: Attempt, ending: Ending, at: datetime) -> UsageRecorded:
    """Return the one usage event of an attempt; its id was born with the claim."""
    key, error, quote = attempt.key, ending.error, attempt.quote
    return UsageRecorded(
        usage_id=attempt.usage_id,
        run_id=attempt.run_id,
        attempt=attempt.number,
        user_id=run.user_id,
        flow=run.flow,
        session_id=run.session_id,
        policy=run.policy,
        key_source=key.source if key else None,
        credential_id=key.credential_id if key else None,
        credential_version=key.credential_version if key else None,
        consent_id=key.consent_id if key else None,
        would_refuse_policy=key.would_refuse_policy if key else None,
        service=key.service if key else None,
        provider=run.provider,
        model=run.model,
        stream=run.stream,
        outcome=ending.outcome,
        error_code=error.code if error else None,
        error_detail=error.detail if error else None,
        retry_after_s=error.retry_after_s if isinstance(error, _RESTING) else None,
        tokens=ending.tokens,
        provider_cost_usd=ending.provider_cost_usd,
        usage_raw=ending.usage_raw,
        provider_request_id=ending.provider_request_id,
        price_version=quote.price.version if quote else None,
        cost_micros=worth_micros(ending.outcome, key.source if key else None, ending.tokens, quote),
        requested_at=run.requested_at,
        started_at=attempt.claimed_at,
        finished_at=at,
        queue_ms=_ms(run.requested_at, attempt.claimed_at) if attempt.number == 1 else None,
        resolve_ms=attempt.resolve_ms,
        first_token_ms=ending.first_token_ms,
        total_ms=_ms(run.requested_at, at),
    )


def _ms(since: datetime, until: datetime) -> int:
    """Return whole milliseconds, never negative: the two clocks may be different machines'."""
    return max(0, round((until - since) / timedelta(milliseconds=1)))
