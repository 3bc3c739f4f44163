"""Every usage event delivered three times and shuffled, to two replicas: balances as from the clean run."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import asyncpg
import orjson
import pytest
from aio_pika.abc import AbstractChannel

from shared.contracts.billing import RunAuthorized
from shared.contracts.credits import CreditsMoved, GrantCredits
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import KeySource, Outcome, TokensSource
from shared.runtime.bus import Bus
from tests.fakes.billing import authorization, usage_event
from tests.integration.billing.conftest import Edge, Start, report, until, waiting

pytestmark = pytest.mark.integration

_SEED: Final = 5
_USERS: Final = 8
_EVENTS: Final = 200
_GRANTED: Final = 1_000_000
_BALANCES: Final = """
SELECT kind, posted_micros, held_micros FROM billing.accounts JOIN unnest($1::text[])
    WITH ORDINALITY AS mine (user_id, place) USING (user_id)
ORDER BY place, kind
"""


@dataclass(frozen=True)
class Life:
    """The same attempts for users of its own, whichever life it is."""

    users: list[str]
    events: list[UsageRecorded]
    held: list[UsageRecorded]
    """Authorized beforehand; every fourth of them for less than it uses."""
    late: list[UsageRecorded]
    """Their holds are over before they are settled."""


def _life() -> Life:
    random, users = Random(_SEED), [f"user-{new_id()}" for _ in range(_USERS)]
    events = [_event(random, random.choice(users)) for _ in range(_EVENTS)]
    paid = [event for event in events if event.key_source is KeySource.PLATFORM]
    return Life(users, events, held=paid[: len(paid) // 2], late=paid[len(paid) // 2 : len(paid) * 3 // 4])


def _event(random: Random, user_id: str) -> UsageRecorded:
    source = random.choice([TokensSource.MEASURED, TokensSource.MEASURED, TokensSource.ESTIMATED])
    counts = TokenCounts(prompt=random.randrange(500), completion=random.randrange(500), source=source)
    return usage_event(
        user_id=user_id,
        key_source=random.choice([KeySource.PLATFORM, KeySource.PLATFORM, KeySource.USER]),
        outcome=random.choice([Outcome.COMPLETED, Outcome.COMPLETED, *Outcome]),
        tokens=random.choice([counts, counts, counts, TokenCounts()]),
    )


async def _hold(worker: Bus, event: UsageRecorded, tokens: int, expires_at: datetime) -> None:
    request = authorization(
        user_id=event.user_id,
        run_id=event.run_id,
        prompt_tokens_max=tokens,
        completion_tokens_max=tokens,
        expires_at=expires_at,
    )
    await worker.rpc.call(request, RunAuthorized, timeout_s=30)


async def _begin(life: Life, edge: Edge, worker: Bus, database: "asyncpg.Connection[Any]") -> None:
    """Give credits and take all holds; those of late attempts expire."""
    for user in life.users:
        request = GrantCredits(
            user_id=user, amount_micros=_GRANTED, idempotency_key=str(new_id()), granted_by="root"
        )
        await edge.bus.rpc.call(request, CreditsMoved, timeout_s=30)
    now = datetime.now(UTC)
    hour = now + timedelta(hours=1)
    await asyncio.gather(
        *(_hold(worker, event, 50 if n % 4 == 0 else 500, hour) for n, event in enumerate(life.held)),
        *(_hold(worker, event, 500, now) for event in life.late),
    )
    expired = "SELECT count(*) FROM billing.holds WHERE state = 'expired' AND user_id = ANY ($1)"
    await until(lambda: database.fetchval(expired, life.users), len(life.late))


async def _balances(life: Life, database: "asyncpg.Connection[Any]") -> bytes:
    """Wait until all is recorded; return every balance, as bytes."""
    counted = "SELECT count(*) FROM billing.usage WHERE user_id = ANY ($1)"
    await until(lambda: database.fetchval(counted, life.users), _EVENTS)
    rows = await database.fetch(_BALANCES, life.users)
    return orjson.dumps([tuple(row) for row in rows])


async def test_balances_are_byte_identical_to_the_clean_run(
    start: Start, edge: Edge, worker: Bus, database: "asyncpg.Connection[Any]", broker: AbstractChannel
) -> None:
    clean, shuffled = _life(), _life()
    async with start(), start():
        await _begin(clean, edge, worker, database)
        await report(worker, *clean.events)
        wanted = await _balances(clean, database)
        await _begin(shuffled, edge, worker, database)
        deliveries = shuffled.events * 3
        Random(_SEED).shuffle(deliveries)
        await report(worker, *deliveries)
        assert await _balances(shuffled, database) == wanted
        await until(lambda: waiting(broker), 0)
    # Both have ended, and with what they had in hand: the last repetitions, too.
    assert await _balances(shuffled, database) == wanted
    assert len(set(orjson.loads(wanted)[0])) > 1
    assert await database.fetch("SELECT * FROM billing.ledger_faults") == []
