"""Hours of usage as services would tell it: every kind of attempt, charges, grants, corrections."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.contracts.credits import CreditsAdjusted, CreditsCharged, CreditsGranted
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome, TokensSource, TransferCause
from tests.stream_filler import Told, told

_SPAN: Final = timedelta(hours=6)
_ATTEMPTS: Final = 240
_PRICE: Final = "genai-prices-0.2.3"
_COST: Final = 1_250

# What differs from a completed attempt on the user's own key.
_KINDS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"key_source": KeySource.SESSION, "stream": True, "first_token_ms": 240},
    {"key_source": KeySource.PLATFORM, "policy": KeyPolicy.PLATFORM_ONLY, "flow": "deep_analysis"},
    {"key_source": KeySource.PLATFORM, "consent_id": "default"},
    {
        "key_source": KeySource.PLATFORM,
        "consent_id": "default",
        "would_refuse_policy": KeyPolicy.USER_KEY_REQUIRED,
        "flow": "solver",
    },
    {"key_source": KeySource.TEAM_GATEWAY, "consent_id": "c-7", "service": KeyService.GATEWAY},
    {"key_source": KeySource.PLATFORM, "policy": KeyPolicy.SYSTEM, "flow": "titles"},
    {"key_source": None, "outcome": Outcome.REFUSED, "error_code": "user_api_key_required", "cost_micros": 0},
    {
        "outcome": Outcome.FAILED,
        "error_code": "provider_rate_limited",
        "retry_after_s": 2.5,
        "cost_micros": 0,
    },
    {
        "key_source": KeySource.PLATFORM,
        "outcome": Outcome.INTERRUPTED,
        "error_code": "worker_lost",
        "tokens": TokenCounts(),
        "cost_micros": None,
    },
    {"model": "openai/unheard-of", "price_version": None, "cost_micros": None},
    {
        "provider": KeyService.ANTHROPIC,
        "service": KeyService.OPENROUTER,
        "model": "anthropic/claude-sonnet-4.5",
    },
)


@dataclass
class History:
    """What happened from the first of `times` up to the last; they are equally far apart."""

    times: tuple[datetime, ...]
    usage: list[UsageRecorded] = field(default_factory=list)
    charges: list[CreditsCharged] = field(default_factory=list)
    grants: list[CreditsGranted] = field(default_factory=list)
    adjustments: list[CreditsAdjusted] = field(default_factory=list)

    def usage_told(self) -> Iterator[Told]:
        """Each event, every seventh twice, at different times."""
        for number, event in enumerate(self.usage):
            yield told(event, event_id=str(event.usage_id))
            if number % 7 == 6:
                again = self.usage[number - 6]
                yield told(again, event_id=str(again.usage_id))

    def money_told(self) -> Iterator[Told]:
        for message in (*self.charges, *self.grants, *self.adjustments):
            yield told(message)


def history() -> History:
    """Make what ended an hour ago."""
    begin = datetime.now(UTC).replace(microsecond=0) - 3 * _SPAN - timedelta(hours=1)
    made = History(tuple(begin + _SPAN * number for number in range(4)))
    for number in range(_ATTEMPTS):
        event = _attempt(number, begin + 3 * _SPAN * number / _ATTEMPTS)
        made.usage.append(event)
        if _is_payable(event):
            made.charges.append(charge_of(event))
    for user in ("ann", "bob", "cleo"):
        made.grants.append(_grant(user))
        made.adjustments += [
            _adjustment(user, TransferCause.ADJUSTMENT),
            _adjustment(user, TransferCause.DEDUCTION),
        ]
    return made


def _attempt(number: int, ended: datetime) -> UsageRecorded:
    kind = _KINDS[number % len(_KINDS)]
    plain = {
        "usage_id": new_id(),
        "run_id": new_id(),
        "attempt": 1,
        "user_id": ("ann", "bob", "cleo", "dan", "eve")[number % 5],
        "flow": "chat",
        "policy": KeyPolicy.USER_KEY_PREFERRED,
        "key_source": KeySource.USER,
        "credential_id": "c1",
        "service": KeyService.OPENAI,
        "provider": KeyService.OPENAI,
        "model": "openai/gpt-4o-mini",
        "stream": False,
        "outcome": Outcome.COMPLETED,
        "tokens": TokenCounts(prompt=100 + number, completion=20, cached=10, source=TokensSource.MEASURED),
        "price_version": _PRICE,
        "cost_micros": _COST + number,
        "requested_at": ended - timedelta(seconds=2),
        "started_at": ended - timedelta(seconds=1),
        "finished_at": ended,
        "queue_ms": 5 + number % 50,
        "resolve_ms": 3,
        "first_token_ms": 100 + number,
        "total_ms": 2000,
    }
    return UsageRecorded.model_validate({**plain, **kind})


def second_attempts(made: History) -> None:
    """Let the runs of failed attempts go on with another key."""
    for event in [event for event in made.usage if event.outcome is Outcome.FAILED]:
        changed = {
            "usage_id": new_id(),
            "attempt": 2,
            "key_source": KeySource.PLATFORM,
            "outcome": Outcome.COMPLETED,
            "error_code": None,
            "cost_micros": _COST,
        }
        follower = event.model_copy(update=changed)
        made.usage.append(follower)
        made.charges.append(charge_of(follower))


def _is_payable(event: UsageRecorded) -> bool:
    platforms = event.key_source is not None and not event.key_source.is_byok
    return platforms and event.policy is not KeyPolicy.SYSTEM and bool(event.cost_micros)


def charge_of(event: UsageRecorded) -> CreditsCharged:
    """Return what billing tells of it when a hold has covered all."""
    return CreditsCharged(
        usage_id=event.usage_id,
        run_id=event.run_id,
        attempt=event.attempt,
        user_id=event.user_id,
        provider=event.provider,
        model=event.model,
        charged_micros=event.cost_micros or 0,
        receivable_micros=0,
        price_version=event.price_version or _PRICE,
    )


def _grant(user: str) -> CreditsGranted:
    return CreditsGranted(transfer_id=new_id(), user_id=user, amount_micros=5_000_000, granted_by="root")


def _adjustment(user: str, cause: TransferCause) -> CreditsAdjusted:
    return CreditsAdjusted(
        transfer_id=new_id(),
        user_id=user,
        cause=cause,
        amount_micros=-1_000,
        receivable_micros=0,
        reason="rated again" if cause is TransferCause.ADJUSTMENT else "image upscaling",
        adjusted_by="root",
    )
