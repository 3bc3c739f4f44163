"""A Postgres that was demoted: it answers, and takes no writes until a primary is back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import pytest
from aio_pika.abc import AbstractChannel

from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.names import BILLING
from shared.runtime.bus import Bus
from tests.fakes.billing import usage_event
from tests.integration.billing.conftest import Edge, Start, dead, report, until
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

Demote: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]

_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1"
_COST = 450


@pytest.fixture
def demoted(realm: TestRealm, database: "asyncpg.Connection[Any]") -> Demote:
    """While in the context, billing's sessions may read only."""
    role = f"{realm.name}_{BILLING}"

    @asynccontextmanager
    async def demoting() -> AsyncIterator[None]:
        await database.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
        await database.execute(_CUT, role)
        try:
            yield
        finally:
            await database.execute(f"ALTER ROLE {role} RESET default_transaction_read_only")
            await database.execute(_CUT, role)

    return demoting


async def test_usage_waits_for_a_database_that_takes_writes_again(
    start: Start, demoted: Demote, edge: Edge, worker: Bus, broker: AbstractChannel
) -> None:
    async def balance() -> tuple[int, int, int] | None:
        with contextlib.suppress(DatabaseUnavailableError):  # of a connection that was cut
            return await edge.balance()
        return None

    before = await dead(broker)
    async with start():
        async with demoted():
            await report(worker, usage_event(user_id=edge.user_id))
            await asyncio.sleep(1)
            with pytest.raises(DatabaseUnavailableError):
                await edge.grant(1)
        await until(balance, (0, 0, _COST))
    assert await dead(broker) == before
