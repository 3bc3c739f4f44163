"""A realm whose database is restored, and what its books say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aio_pika
import asyncpg
import pytest_asyncio

from infra.bootstrap import Servers
from infra.recovery.recover import Recovered, recover
from services.inference.adapters.postgres import PostgresAttemptStore
from services.inference.domain.attempt import Attempt
from shared.contracts.message import Message
from shared.contracts.topology import BILLING_USAGE
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import INFERENCE
from tests.fakes.inference import a_request
from tests.integration.infra.ledger_house import House
from tests.realm import TestRealm, temporary_realm

_ACCOUNTS: Final = """
SELECT kind, user_id, posted_micros FROM billing.accounts WHERE posted_micros <> 0 ORDER BY kind, user_id
"""
_TRANSFERS: Final = """
SELECT kind, cause, cause_id, amount_micros, idempotency_key, user_id, run_id, attempt, reason, made_by,
       (SELECT kind FROM billing.accounts WHERE id = debit_account) AS debit,
       (SELECT kind FROM billing.accounts WHERE id = credit_account) AS credit
FROM billing.transfers ORDER BY cause_id, kind
"""
_USAGE: Final = """
SELECT usage_id, event::text, cost_micros, charged_micros, receivable_micros, price_version, unrated
FROM billing.usage ORDER BY usage_id
"""


@pytest_asyncio.fixture
async def realm(servers: Servers, tmp_path: Path) -> AsyncIterator[TestRealm]:
    async with temporary_realm(servers, tmp_path) as made:
        yield made


async def recovered_of(realm: TestRealm, start: datetime | None = None) -> Recovered:
    """Recover as the command does."""
    urls = realm.admin["LATCHKEY_POSTGRES_URL"], realm.admin["LATCHKEY_AMQP_URL"]
    return await recover(*urls, realm=realm.name, start=start)


def added(recovered: Recovered) -> int:
    """Return how much was added or changed as it was told."""
    posted, changed = recovered.posted, recovered.changed
    ledger = recovered.attempts + posted.usage + posted.transfers
    return ledger + changed.destroyed + changed.switched + changed.consents


async def books(house: House) -> list[list[tuple[Any, ...]]]:
    """Return all of the ledger but for what says when."""
    queries = (_ACCOUNTS, _TRANSFERS, _USAGE)
    return [[tuple(row) for row in await house.database.fetch(query)] for query in queries]


async def times(house: House) -> dict[tuple[str, str], float]:
    """Return when each transfer was made."""
    rows = await house.database.fetch("SELECT cause_id, kind, created_at FROM billing.transfers")
    return {(str(row["cause_id"]), row["kind"]): row["created_at"].timestamp() for row in rows}


async def tell_nobody(realm: TestRealm, *events: UsageRecorded) -> None:
    """Publish usage events that reach the stream, and billing never."""
    await tell(realm, INFERENCE, *events)
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        queue = await (await connection.channel()).get_queue(BILLING_USAGE, ensure=False)
        await queue.purge()


async def tell(realm: TestRealm, service: str, *events: Message) -> None:
    """Publish events in a service's name."""
    bus = realm.bus(service)
    await bus.start()
    for event in events:
        await bus.publish(event)
    await bus.stop()


@asynccontextmanager
async def attempts_of(realm: TestRealm) -> AsyncIterator[PostgresAttemptStore]:
    """The workers' table."""
    url = realm.env(INFERENCE)["LATCHKEY_POSTGRES_URL"]
    async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool:
        yield PostgresAttemptStore(pool)


async def claim(store: PostgresAttemptStore, event: UsageRecorded) -> None:
    """Take an attempt as a worker does."""
    attempt = Attempt(event.run_id, event.attempt, event.usage_id, "worker-1", datetime.now(UTC))
    assert await store.claim(attempt, a_request(run_id=event.run_id, user_id=event.user_id))
