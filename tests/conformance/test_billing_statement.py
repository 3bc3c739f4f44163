"""One behaviour of statements, in memory and in Postgres."""

import asyncio

import pytest

from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import BILLING, TransferKind
from tests.conformance.billing_credits import (
    ADJUSTMENT,
    DEDUCTION,
    GRANT,
    CreditStores,
    in_memory,
    in_postgres,
)
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance


class StatementContract:
    """What every store does. Subclasses bring the fixture `stores`."""

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
    async def test_a_statement_adds_up_on_every_page(self, stores: CreditStores, limit: int) -> None:
        amounts = [100, -30, 500, -900, 50, 1_000, -7]
        for amount in amounts:
            await stores.move(ADJUSTMENT, amount)
        entries = await stores.statement(limit)
        balance = owed = 0
        for entry in reversed(entries):
            balance += entry.amount_micros
            owed += entry.receivable_micros
            assert entry.balance_micros == balance
        assert (balance, 0, owed) == await stores.balance()
        assert balance - owed == sum(amounts)
        assert {entry.cause for entry in entries} == {ADJUSTMENT}
        assert {entry.reason for entry in entries} == {"because"}

    async def test_pages_stay_right_while_new_entries_come_in(self, stores: CreditStores) -> None:
        for amount in (1, 2, 3, 4):
            await stores.move(GRANT, amount)
        first = await stores.credits.statement(stores.user_id, limit=2, cursor=None)
        await stores.move(GRANT, 100)
        await stores.move(DEDUCTION, -50)
        rest = await stores.credits.statement(stores.user_id, limit=2, cursor=first.next_cursor)
        seen = [(entry.amount_micros, entry.balance_micros) for entry in (*first.items, *rest.items)]
        assert seen == [(4, 10), (3, 6), (2, 3), (1, 1)]
        assert rest.next_cursor is None

    async def test_a_statement_is_right_at_every_moment(self, stores: CreditStores) -> None:
        """Balance and entries of a page are of one moment, whoever moves credits meanwhile."""
        moving = asyncio.gather(*(stores.move(GRANT, 1) for _ in range(40)))
        while not moving.done():
            page = await stores.credits.statement(stores.user_id, limit=200, cursor=None)
            balances = [entry.balance_micros for entry in page.items]
            assert balances == list(range(len(balances), 0, -1))
            await asyncio.sleep(0)
        await moving

    @pytest.mark.parametrize(
        "cursor",
        [
            *("", "x", "MXwyfDM=", "YXxi", "OTk5OTk5OTk5OTk5OTk5OTk5OTl8MQ=="),
            "OTk5fC05MjIzMzcyMDM2ODU0Nzc1ODA3",  # 999|-9223372036854775807: no balance was ever less than 0
        ],
    )
    async def test_a_foreign_cursor_is_refused(self, stores: CreditStores, cursor: str) -> None:
        with pytest.raises(InvalidRequestError):
            await stores.credits.statement(stores.user_id, limit=1, cursor=cursor)

    async def test_a_statement_is_its_users_alone(self, stores: CreditStores) -> None:
        await stores.move(GRANT, 10)
        page = await stores.credits.statement("someone-" + stores.user_id, limit=10, cursor=None)
        assert (page.items, page.next_cursor) == ((), None)
        (entry,) = await stores.statement()
        assert (entry.kind, entry.run_id, entry.attempt) == (TransferKind.GRANT, None, None)


class TestInMemory(StatementContract):
    @pytest.fixture
    def stores(self) -> CreditStores:
        return in_memory()


class TestPostgres(StatementContract):
    @pytest.fixture
    async def stores(self, pool_for: PoolFor) -> CreditStores:
        return in_postgres(await pool_for(BILLING))
