"""A database whose administrator bounds the wait for locks, and somebody who holds them: all wait for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from infra.bootstrap.postgres import connect
from shared.kernel.names import BILLING, INFERENCE
from tests.acceptance.house import House, eventually
from tests.quiet import dead_letters

pytestmark = pytest.mark.acceptance

GRANT: Final = 1_000_000
LOCKED_S: Final = 3.0
"""Thirty times what they wait for a lock, and longer than three deliveries of one message."""
_END_SESSIONS: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY ($1::text[])
"""


@asynccontextmanager
async def impatient(house: House) -> AsyncIterator[None]:
    """Whoever writes money or attempts waits a tenth of a second for a lock."""
    roles = [f"{house.realm.name}_{service}" for service in (INFERENCE, BILLING)]
    for role in roles:
        await house.rows(f"ALTER ROLE \"{role}\" SET lock_timeout = '100ms'")
    await house.rows(_END_SESSIONS, roles)
    try:
        yield
    finally:
        for role in roles:
            await house.rows(f'ALTER ROLE "{role}" RESET lock_timeout')
        await house.rows(_END_SESSIONS, roles)


@asynccontextmanager
async def locked(house: House, tables: str) -> AsyncIterator[None]:
    async with connect(house.realm.admin["LATCHKEY_POSTGRES_URL"]) as database, database.transaction():
        await database.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")
        yield


async def test_a_run_ends_well_and_is_charged_once_beside_locks_that_nobody_gives_up(house: House) -> None:
    caller = await house.caller()
    await house.grant(caller, GRANT)
    async with impatient(house):
        asking = caller.ask("[simulate latency_ms=500] Hi", flow="deep_analysis", max_tokens=50)
        running = asyncio.create_task(asking)
        await eventually(lambda: _is_called(house), "the provider is called")
        async with locked(house, "inference.attempts, billing.usage"):
            await asyncio.sleep(LOCKED_S)
        answer = await running
        receipt = await house.receipt(caller, answer.headers["latchkey-run-id"])

    assert (answer.status_code, receipt["attempts"][0]["outcome"]) == (200, "completed")
    await house.check_ledger(caller, GRANT - receipt["totals"]["charged_micros"])
    assert not any((await dead_letters(house.realm)).values())
    reasons = [part.log.read_text().count("LockNotAvailableError") for part in house.parts.values()]
    assert sum(reasons) > 0, "the logs say why"


async def _is_called(house: House) -> bool:
    return house.calls().in_flight == 1
