"""What a period was charged, and what other prices come to. Nothing changes."""

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import asyncpg

from infra.rating.prices import Rates
from services.billing.domain.settlement import charge_micros
from shared.contracts.usage import UsageRecorded, worth_micros
from shared.kernel.names import KeySource, TokensSource

_PLATFORMS: Final = [source.value for source in KeySource if not source.is_byok]
_AT_ONCE: Final = 1_000
_USAGE: Final = """
SELECT (event - 'usage_raw')::text AS event, charged_micros FROM billing.usage
WHERE recorded_at >= $1 AND recorded_at < $2 AND key_source = ANY ($3::text[])
  AND ($4::text IS NULL OR user_id = $4) AND ($5::text IS NULL OR model = $5)
"""


@dataclass(frozen=True)
class Period:
    """`since` ≤ recorded < `until`; one user's or model's only, where they are named."""

    since: datetime
    until: datetime
    user_id: str | None = None
    model: str | None = None

    def __str__(self) -> str:
        return f"{self.since.isoformat()} to {self.until.isoformat()}"


@dataclass
class Sum:
    """Over attempts. The `unrated` ones, whose price is unknown now, keep what they were charged."""

    attempts: int = 0
    unrated: int = 0
    charged_micros: int = 0
    rated_micros: int = 0

    @property
    def difference_micros(self) -> int:
        return self.rated_micros - self.charged_micros

    def add(self, charged: int, rated: int | None) -> None:
        self.attempts += 1
        self.unrated += rated is None
        self.charged_micros += charged
        self.rated_micros += charged if rated is None else rated


@dataclass
class Rerated:
    """Sums of what was charged, or would be by the new prices."""

    models: dict[str, Sum] = field(default_factory=lambda: defaultdict(Sum))
    users: dict[str, Sum] = field(default_factory=lambda: defaultdict(Sum))
    total: Sum = field(default_factory=Sum)

    def add(self, event: UsageRecorded, charged: int, rated: int | None) -> None:
        for each in (self.models[event.model], self.users[event.user_id], self.total):
            each.add(charged, rated)


async def rerate(database: "asyncpg.Connection[Any]", period: Period, rates: Rates) -> Rerated:
    """Rate each attempt of a period again that was charged, or would be by billing's rules."""
    found = Rerated()
    async for event, charged in _usage(database, period):
        if charged or _is_chargeable(event):
            found.add(event, charged, _rated(event, rates))
    return found


async def _usage(
    database: "asyncpg.Connection[Any]", period: Period
) -> AsyncIterator[tuple[UsageRecorded, int]]:
    """Stream what was recorded on the platform's keys."""
    async with database.transaction(isolation="repeatable_read", readonly=True):
        rows = database.cursor(
            _USAGE, period.since, period.until, _PLATFORMS, period.user_id, period.model, prefetch=_AT_ONCE
        )
        async for row in rows:
            yield UsageRecorded.model_validate_json(row["event"]), row["charged_micros"]


def _is_chargeable(event: UsageRecorded) -> bool:
    is_counted = event.tokens.source is not TokensSource.UNKNOWN
    return is_counted and charge_micros(event.key_source, event.policy, event.outcome, 1) > 0


def _rated(event: UsageRecorded, rates: Rates) -> int | None:
    """Return what the attempt is charged now; None when its price is unknown."""
    cost = worth_micros(event.outcome, event.key_source, event.tokens, rates.quote(event))
    return None if cost is None else charge_micros(event.key_source, event.policy, event.outcome, cost)
