"""A realm whose database is restored, and what its books say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aio_pika
import asyncpg
import pytest_asyncio

from infra.bootstrap import Servers
from infra.recovery.recover import Recovered, recover
from infra.usage_stream import UsageStream
from services.inference.adapters.postgres import PostgresAttemptStore
from shared.contracts.topology import BILLING_USAGE, KEYS_AUDIT
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import INFERENCE
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


async def recovered_of(realm: TestRealm) -> Recovered:
    """Recover as the command does."""
    usage = UsageStream(realm.admin["LATCHKEY_ANALYST_AMQP_URL"])
    return await recover(realm.admin["LATCHKEY_POSTGRES_URL"], usage, audit_stream(realm), realm=realm.name)


def audit_stream(realm: TestRealm) -> UsageStream:
    return UsageStream(realm.admin["LATCHKEY_AMQP_URL"], name=KEYS_AUDIT)


def changes(recovered: Recovered) -> int:
    """Return how much was added or changed as it was told."""
    added, changed = recovered.added, recovered.changed
    return sum(map(int, (*vars(added).values(), *vars(changed).values())))


async def books(house: House) -> list[list[tuple[Any, ...]]]:
    """Return all of the ledger but for what says when."""
    queries = (_ACCOUNTS, _TRANSFERS, _USAGE)
    return [[tuple(row) for row in await house.database.fetch(query)] for query in queries]


async def tell_nobody(realm: TestRealm, *events: UsageRecorded) -> None:
    """Publish usage events that reach the stream, and billing never."""
    worker = realm.bus(INFERENCE)
    await worker.start()
    for event in events:
        await worker.publish(event, event_id=str(event.usage_id))
    await worker.stop()
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        queue = await (await connection.channel()).get_queue(BILLING_USAGE, ensure=False)
        await queue.purge()


@asynccontextmanager
async def attempts_of(realm: TestRealm) -> AsyncIterator[PostgresAttemptStore]:
    """The workers' table."""
    url = realm.env(INFERENCE)["LATCHKEY_POSTGRES_URL"]
    async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool:
        yield PostgresAttemptStore(pool)
