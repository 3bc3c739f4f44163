"""One behaviour of usage lists, in memory and in Postgres."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.adapters.postgres_usage import PostgresUsageStore
from services.billing.ports import LedgerStore, UsageStore
from shared.contracts.billing import ListUsage, ReceiptAttempt, UsageTotals
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.errors import InvalidRequestError
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, KeySource, Outcome, TokensSource, Unrated
from tests.fakes.billing import PRICE, hold_for, rated, usage
from tests.fakes.billing_ledger import InMemoryLedgerStore
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance

_COUNTS = TokenCounts(
    prompt=10, completion=5, cached=4, cache_write=3, reasoning=2, source=TokensSource.MEASURED
)
_WORTH = 2_000
"""What `_COUNTS` cost."""


@dataclass
class Stores:
    """One implementation, and a user of the test's own."""

    ledger: LedgerStore
    usage: UsageStore
    user_id: str = field(default_factory=lambda: f"user-{new_id()}")

    async def record(self, **changes: Any) -> UsageRecorded:
        one = usage(**{"user_id": self.user_id, "tokens": _COUNTS} | changes)
        await self.ledger.record([one], rated)
        return one.event

    async def all(self, limit: int = 200, **asked: Any) -> list[ReceiptAttempt]:
        """All pages."""
        request = ListUsage(**{"user_id": self.user_id} | asked, limit=limit)
        found = list[ReceiptAttempt]()
        while True:
            page = await self.usage.page(request)
            assert len(page.items) <= limit
            found.extend(page.items)
            if page.next_cursor is None:
                return found
            request = request.model_copy(update={"cursor": page.next_cursor})

    async def totals(self, **asked: Any) -> UsageTotals:
        request = ListUsage(**{"user_id": self.user_id} | asked, limit=1)
        return (await self.usage.page(request)).totals


class UsageContract:
    """What every store does. Subclasses bring the fixture `stores`."""

    async def test_an_attempt_is_told_as_it_was_recorded_and_billed(self, stores: Stores) -> None:
        event = await stores.record(
            provider_request_id="req_1", queue_ms=1, resolve_ms=2, first_token_ms=3, total_ms=4
        )
        attempt = ReceiptAttempt(
            usage=event, cost_micros=_WORTH, charged_micros=_WORTH, price_version=PRICE.version
        )
        assert await stores.all() == [attempt]
        assert await stores.usage.of_run(stores.user_id, event.run_id) == [attempt]

    async def test_a_runs_attempts_are_in_order_and_its_users_alone(self, stores: Stores) -> None:
        run_id = new_id()
        for attempt in (2, 1, 3):
            await stores.record(run_id=run_id, attempt=attempt)
        found = await stores.usage.of_run(stores.user_id, run_id)
        assert [one.usage.attempt for one in found] == [1, 2, 3]
        assert await stores.usage.of_run("someone", run_id) == []

    async def test_a_run_is_open_while_credits_are_held_for_it(self, stores: Stores) -> None:
        one = usage(user_id=stores.user_id)
        run_id = one.event.run_id
        assert not await stores.usage.is_open(stores.user_id, run_id)
        await stores.ledger.authorize([hold_for(one.event, 0)])
        assert await stores.usage.is_open(stores.user_id, run_id)
        assert not await stores.usage.is_open("someone", run_id)
        await stores.ledger.record([one], rated)
        assert not await stores.usage.is_open(stores.user_id, run_id)

    @pytest.mark.parametrize("limit", [1, 2, 5, 6])
    async def test_pages_go_on_where_they_ended(self, stores: Stores, limit: int) -> None:
        events = [await stores.record() for _ in range(5)]
        found = await stores.all(limit)
        assert [one.usage.usage_id for one in found] == [event.usage_id for event in reversed(events)]

    async def test_what_comes_meanwhile_moves_no_page(self, stores: Stores) -> None:
        events = [await stores.record() for _ in range(4)]
        first = await stores.usage.page(ListUsage(user_id=stores.user_id, limit=2))
        await stores.record()
        rest = await stores.usage.page(ListUsage(user_id=stores.user_id, limit=2, cursor=first.next_cursor))
        seen = [one.usage.usage_id for one in (*first.items, *rest.items)]
        assert seen == [event.usage_id for event in reversed(events)]
        assert (first.totals.attempts, rest.totals.attempts) == (4, 5)

    async def test_everybodys(self, stores: Stores) -> None:
        mine = await stores.record()
        theirs = await stores.record(user_id=f"other-{stores.user_id}")
        newest = await stores.usage.page(ListUsage(user_id=None, limit=2))
        assert [one.usage.usage_id for one in newest.items] == [theirs.usage_id, mine.usage_id]
        assert newest.totals.attempts >= 2
        assert [one.usage.usage_id for one in await stores.all()] == [mine.usage_id]

    @pytest.mark.parametrize(
        "asked",
        [{"flow": "solver"}, {"model": "openai/gpt-4o"}, {"key_source": KeySource.SESSION}],
        ids=["flow", "model", "key_source"],
    )
    async def test_a_filter_is_for_items_and_totals(self, stores: Stores, asked: dict[str, Any]) -> None:
        await stores.record()
        wanted = await stores.record(**asked)
        assert [one.usage.usage_id for one in await stores.all(**asked)] == [wanted.usage_id]
        assert (await stores.totals(**asked)).attempts == 1
        assert await stores.all(**asked, until=datetime.now(UTC) - timedelta(days=1)) == []

    async def test_since_and_until_are_of_when_it_was_recorded(self, stores: Stores) -> None:
        await stores.record()
        now = datetime.now(UTC)
        hour = timedelta(hours=1)
        spans = [(None, None), (now - hour, None), (now + hour, None), (None, now + hour)]
        spans += [(None, now - hour), (now - hour, now + hour), (now + hour, now - hour)]
        found = [len(await stores.all(since=since, until=until)) for since, until in spans]
        totals = [(await stores.totals(since=since, until=until)).attempts for since, until in spans]
        assert found == totals == [1, 1, 0, 1, 0, 1, 0]

    async def test_totals_are_of_all_pages(self, stores: Stores) -> None:
        run_id = new_id()
        await stores.record(run_id=run_id, key_source=KeySource.USER)
        await stores.record(run_id=run_id, attempt=2)
        await stores.record(tokens=TokenCounts())
        await stores.record(key_source=KeySource.REQUEST, model="openai/unheard-of")
        await stores.record(key_source=None, outcome=Outcome.REFUSED, tokens=TokenCounts())
        assert await stores.totals() == UsageTotals(
            runs=4,
            attempts=5,
            keyed_attempts=4,
            byok_attempts=2,
            unrated_attempts=2,
            prompt_tokens=30,
            completion_tokens=15,
            cached_tokens=12,
            cache_write_tokens=9,
            reasoning_tokens=6,
            cost_micros=2 * _WORTH,
            charged_micros=_WORTH,
        )
        assert [one.unrated for one in await stores.all()] == [
            None,
            Unrated.PRICE_UNKNOWN,
            Unrated.TOKENS_UNKNOWN,
            None,
            None,
        ]

    async def test_nothing_comes_to_nothing(self, stores: Stores) -> None:
        totals = await stores.totals()
        assert set(totals.model_dump().values()) == {0}

    @pytest.mark.parametrize("cursor", ["", "x", "YXxi", "LQ==", "MQ==x", "MV8w"])
    async def test_a_foreign_cursor_is_refused(self, stores: Stores, cursor: str) -> None:
        with pytest.raises(InvalidRequestError):
            await stores.usage.page(ListUsage(user_id=stores.user_id, cursor=cursor))


class TestInMemory(UsageContract):
    @pytest.fixture
    def stores(self) -> Stores:
        store = InMemoryLedgerStore()
        return Stores(store, store)


class TestPostgres(UsageContract):
    @pytest.fixture
    async def stores(self, pool_for: PoolFor) -> Stores:
        pool = await pool_for(BILLING)
        return Stores(PostgresLedgerStore(pool), PostgresUsageStore(pool))
