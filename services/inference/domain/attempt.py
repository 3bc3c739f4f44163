"""One attempt: what is known of it while it runs, how it ended, and the usage event that says so."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from shared.contracts.runs import RunRequested
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.errors import PlatformError, ProviderRateLimitedError, SystemKeyExhaustedError
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome

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
class Attempt:
    """A claimed attempt. `worker` holds it; `key` is None until one is resolved."""

    run_id: UUID
    number: int
    usage_id: UUID
    worker: str
    claimed_at: datetime
    key: KeyUsed | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended. `curable`: another credential could do better, nothing was relayed yet."""

    outcome: Outcome
    error: PlatformError | None = None
    tokens: TokenCounts = field(default_factory=TokenCounts)
    usage_raw: dict[str, Any] | None = None
    provider_cost_usd: str | None = None
    first_token_ms: int | None = None
    curable: bool = False
    response: str | None = None


def usage_event(request: RunRequested, attempt: Attempt, ending: Ending, at: datetime) -> UsageRecorded:
    """Return the one usage event of an attempt; its id was born with the claim."""
    key, error = attempt.key, ending.error
    return UsageRecorded(
        usage_id=attempt.usage_id,
        run_id=attempt.run_id,
        attempt=attempt.number,
        user_id=request.user_id,
        flow=request.flow,
        policy=request.policy,
        key_source=key.source if key else None,
        credential_id=key.credential_id if key else None,
        credential_version=key.credential_version if key else None,
        consent_id=key.consent_id if key else None,
        would_refuse_policy=key.would_refuse_policy if key else None,
        service=key.service if key else None,
        provider=request.provider,
        model=request.model,
        stream=request.stream,
        outcome=ending.outcome,
        error_code=error.code if error else None,
        error_detail=error.detail if error else None,
        retry_after_s=error.retry_after_s if isinstance(error, _RESTING) else None,
        tokens=ending.tokens,
        provider_cost_usd=ending.provider_cost_usd,
        usage_raw=ending.usage_raw,
        requested_at=request.requested_at,
        started_at=attempt.claimed_at,
        finished_at=at,
        first_token_ms=ending.first_token_ms,
    )
