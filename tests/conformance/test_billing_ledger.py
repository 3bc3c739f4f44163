"""One behaviour of the ledger, in memory and in Postgres."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from services.billing.adapters.postgres_credits import PostgresCreditStore
from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.adapters.postgres_outbox import PostgresOutbox
from services.billing.adapters.postgres_usage import PostgresUsageStore
from services.billing.domain.hold import Hold, HoldState
from services.billing.domain.movement import plan
from services.billing.ports import CreditStore, Entry, LedgerStore, Outbox, Outgoing, Usage, UsageStore
from shared.contracts.credits import CreditsCharged, CreditsGranted
from shared.contracts.message import Message
from shared.contracts.usage import TokenCounts
from shared.kernel.errors import (
    BusUnavailableError,
    ConflictError,
    InsufficientCreditsError,
    InvalidRequestError,
)
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeySource, Outcome, TokensSource, Unrated
from shared.kernel.prices import Tariff
from tests.fakes.billing import (
    QUOTE,
    grant,
    hold_for,
    rated,
    usage,
)
from tests.fakes.billing_events import load_event
from tests.fakes.billing_ledger import InMemoryLedgerStore
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance


_WORTH = 2_000
"""What `usage()` costs."""
DEAR = Tariff(Decimal("0.001"), Decimal(2))


@dataclass
class Stores:
    """One implementation, and a user of the test's own."""

    ledger: LedgerStore
    credits: CreditStore
    usage: UsageStore
    outbox: Outbox
    faults: Callable[[], Awaitable[Sequence[object]]]
    user_id: str

    async def grant(self, amount_micros: int) -> None:
        await self.credits.move(grant(self.user_id, amount_micros), plan)

    async def record(self, *usages: Usage) -> list[Entry]:
        return await self.ledger.record(usages, rated)

    async def authorize(self, one: Usage, amount_micros: int, **changes: Any) -> Hold:
        (answer,) = await self.ledger.authorize([hold_for(one.event, amount_micros, **changes)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def balance(self) -> tuple[int, int, int]:
        found = await self.credits.balance(self.user_id)
        return found.balance_micros, found.held_micros, found.receivable_micros

    def used(self, **changes: Any) -> Usage:
        return usage(user_id=self.user_id, **changes)

    async def told(self) -> list[Message]:
        """The user's events that wait, which are then gone."""
        heard: list[Message] = []

        async def publish(events: Sequence[Outgoing]) -> list[UUID]:
            heard.extend(map(load_event, events))
            return [event.event_id for event in events]

        while await self.outbox.relay(publish, limit=100):
            pass
        return [one for one in heard if getattr(one, "user_id", None) == self.user_id]


class LedgerContract:
    """What every store does. Subclasses bring the fixture `stores`."""

    async def test_a_user_without_an_account_has_nothing(self, stores: Stores) -> None:
        assert await stores.balance() == (0, 0, 0)
        with pytest.raises(InsufficientCreditsError):
            await stores.authorize(stores.used(), 1)

    async def test_a_hold_of_nothing_needs_no_credits_and_expires_too(self, stores: Stores) -> None:
        past = datetime.now(UTC) - timedelta(seconds=1)
        assert (await stores.authorize(stores.used(), 0, expires_at=past)).amount_micros == 0
        assert await stores.ledger.expire_holds(datetime.now(UTC)) == 1

    async def test_authorize_and_settle(self, stores: Stores) -> None:
        one = stores.used()
        await stores.grant(10_000)
        hold = await stores.authorize(one, 5_000)
        assert hold.state is HoldState.HELD
        assert await stores.balance() == (10_000, 5_000, 0)
        (entry,) = await stores.record(one)
        assert entry.settlement.charged_micros == _WORTH
        assert await stores.balance() == (8_000, 0, 0)
        assert await stores.faults() == []

    async def test_a_hold_may_take_the_last_micro_and_no_more(self, stores: Stores) -> None:
        await stores.grant(5_000)
        await stores.authorize(stores.used(), 5_000)
        with pytest.raises(InsufficientCreditsError):
            await stores.authorize(stores.used(), 1)

    async def test_authorizing_again_returns_the_same_hold(self, stores: Stores) -> None:
        one = stores.used()
        await stores.grant(10_000)
        first = await stores.authorize(one, 5_000)
        later = first.expires_at + timedelta(hours=1)
        again = await stores.authorize(one, 7_000, expires_at=later, quote=replace(QUOTE, tariff=DEAR))
        assert again == first
        assert again.quote == QUOTE
        assert await stores.balance() == (10_000, 5_000, 0)

    async def test_authorizing_what_is_settled_is_a_conflict(self, stores: Stores) -> None:
        one = stores.used()
        await stores.grant(10_000)
        await stores.authorize(one, 5_000)
        await stores.record(one)
        with pytest.raises(ConflictError):
            await stores.authorize(one, 5_000)
        assert await stores.balance() == (8_000, 0, 0)

    @pytest.mark.parametrize("source", [KeySource.PLATFORM, KeySource.TEAM_GATEWAY])
    async def test_authorizing_what_is_over_before_is_a_conflict(
        self, stores: Stores, source: KeySource
    ) -> None:
        one = stores.used(tokens=TokenCounts(), key_source=source)
        await stores.grant(10_000)
        await stores.record(one)
        with pytest.raises(ConflictError):
            await stores.authorize(one, 5_000)
        assert await stores.balance() == (10_000, 0, 0)

    async def test_anothers_attempt_is_a_conflict(self, stores: Stores) -> None:
        one = stores.used()
        await stores.grant(10_000)
        await stores.authorize(one, 5_000)
        with pytest.raises(ConflictError):
            await stores.authorize(one, 0, user_id=f"eve-{new_id()}")

    async def test_attempts_of_one_run_are_apart(self, stores: Stores) -> None:
        first = stores.used()
        second = stores.used(run_id=first.event.run_id, attempt=2)
        await stores.grant(10_000)
        await stores.authorize(first, 3_000)
        await stores.authorize(second, 4_000)
        await stores.record(second)
        assert await stores.balance() == (8_000, 3_000, 0)

    async def test_nothing_charged_releases_the_hold(self, stores: Stores) -> None:
        one = stores.used(tokens=TokenCounts())
        await stores.grant(10_000)
        await stores.authorize(one, 5_000)
        await stores.record(one)
        assert await stores.balance() == (10_000, 0, 0)
        assert [type(event) for event in await stores.told()] == [CreditsGranted]

    async def test_the_teams_gateway_is_paid_with_credits_as_well(self, stores: Stores) -> None:
        held, unheld = (stores.used(key_source=KeySource.TEAM_GATEWAY) for _ in range(2))
        await stores.grant(10_000)
        await stores.authorize(held, 5_000)
        await stores.record(held, unheld)
        assert await stores.balance() == (8_000, 0, _WORTH)
        assert await stores.faults() == []

    @pytest.mark.parametrize(
        ("changes", "unrated"),
        [
            ({"tokens": TokenCounts()}, Unrated.TOKENS_UNKNOWN),
            ({"model": "openai/unheard-of"}, Unrated.PRICE_UNKNOWN),
            ({"outcome": Outcome.INTERRUPTED, "tokens": TokenCounts()}, Unrated.TOKENS_UNKNOWN),
            ({"outcome": Outcome.INTERRUPTED}, None),
            ({"outcome": Outcome.REFUSED, "tokens": TokenCounts()}, None),
        ],
        ids=["tokens unknown", "price unknown", "lost", "interrupted", "refused"],
    )
    async def test_what_is_not_charged_is_released_and_flagged_when_nobody_knows_its_worth(
        self, stores: Stores, changes: dict[str, Any], unrated: Unrated | None
    ) -> None:
        one = stores.used(**changes)
        await stores.grant(10_000)
        await stores.authorize(one, 5_000, quote=None)
        (entry,) = await stores.record(one)
        assert (entry.unrated, entry.settlement.charged_micros) == (unrated, 0)
        assert await stores.balance() == (10_000, 0, 0)
        (attempt,) = await stores.usage.of_run(stores.user_id, one.event.run_id)
        assert (attempt.unrated, attempt.charged_micros) == (unrated, 0)
        assert (attempt.cost_micros is None) == (unrated is not None)
        assert await stores.faults() == []

    async def test_estimated_tokens_are_charged_as_measured_ones(self, stores: Stores) -> None:
        counts = TokenCounts(prompt=10, completion=5, source=TokensSource.ESTIMATED)
        one = stores.used(outcome=Outcome.CANCELLED, tokens=counts)
        await stores.grant(10_000)
        await stores.authorize(one, 5_000)
        await stores.record(one)
        assert await stores.balance() == (10_000 - _WORTH, 0, 0)

    @pytest.mark.parametrize("source", [KeySource.PLATFORM, KeySource.TEAM_GATEWAY])
    async def test_the_systems_own_runs_move_no_money(self, stores: Stores, source: KeySource) -> None:
        await stores.record(stores.used(policy=KeyPolicy.SYSTEM, key_source=source))
        assert await stores.balance() == (0, 0, 0)

    async def test_a_byok_attempt_moves_no_money(self, stores: Stores) -> None:
        (entry,) = await stores.record(stores.used(key_source=KeySource.USER))
        assert (entry.cost_micros, entry.settlement.charged_micros) == (_WORTH, 0)
        assert await stores.balance() == (0, 0, 0)

    async def test_more_than_the_hold_is_owed(self, stores: Stores) -> None:
        one = stores.used()
        await stores.grant(10_000)
        await stores.authorize(one, 1_500)
        await stores.record(one)
        assert await stores.balance() == (8_500, 0, 500)
        assert await stores.faults() == []

    async def test_an_expired_hold_is_free_again_and_its_late_usage_is_owed(self, stores: Stores) -> None:
        one, past = stores.used(), datetime.now(UTC) - timedelta(seconds=1)
        await stores.grant(10_000)
        await stores.authorize(one, 5_000, expires_at=past)
        assert await stores.ledger.expire_holds(datetime.now(UTC)) == 1
        assert await stores.ledger.expire_holds(datetime.now(UTC)) == 0
        assert await stores.balance() == (10_000, 0, 0)
        await stores.record(one)
        assert await stores.balance() == (10_000, 0, _WORTH)
        with pytest.raises(ConflictError):
            await stores.authorize(one, 5_000)
        assert await stores.faults() == []

    async def test_a_hold_whose_time_has_not_come_stays(self, stores: Stores) -> None:
        await stores.grant(10_000)
        await stores.authorize(stores.used(), 5_000)
        await stores.ledger.expire_holds(datetime.now(UTC))
        assert await stores.balance() == (10_000, 5_000, 0)

    async def test_usage_without_a_hold_or_an_account_is_owed(self, stores: Stores) -> None:
        await stores.record(stores.used())
        assert await stores.balance() == (0, 0, _WORTH)
        assert await stores.faults() == []

    async def test_a_usage_is_billed_once_by_its_id_and_by_its_attempt(self, stores: Stores) -> None:
        one = stores.used()
        await stores.grant(10_000)
        await stores.authorize(one, 5_000)
        renamed = Usage(one.event.model_copy(update={"usage_id": new_id()}), one.raw)
        moved = Usage(one.event.model_copy(update={"run_id": new_id()}), one.raw)
        assert len(await stores.record(one, one, renamed, moved)) == 1
        assert await stores.record(renamed, one) == []
        assert await stores.record(moved) == []
        assert await stores.balance() == (8_000, 0, 0)

    async def test_reordered_and_repeated_batches_end_alike(self, stores: Stores) -> None:
        batch = [stores.used() for _ in range(20)]
        await stores.grant(1_000_000)
        for one in batch[:15]:
            await stores.authorize(one, 3_000)
        deliveries = batch * 3
        Random(7).shuffle(deliveries)
        parts = [deliveries[start : start + 7] for start in range(0, len(deliveries), 7)]
        await asyncio.gather(*(stores.record(*part) for part in parts))
        assert await stores.balance() == (1_000_000 - 15 * _WORTH, 0, 5 * _WORTH)
        charges = [event for event in await stores.told() if isinstance(event, CreditsCharged)]
        assert len({event.usage_id for event in charges}) == len(charges) == 20
        assert await stores.faults() == []

    async def test_what_cannot_be_kept_keeps_nothing_of_its_batch(self, stores: Stores) -> None:
        good = stores.used()
        with pytest.raises(InvalidRequestError):
            await stores.record(good, stores.used(model="openai/\x00"))
        assert await stores.balance() == (0, 0, 0)
        assert len(await stores.record(good)) == 1

    async def test_what_was_charged_is_told_in_full(self, stores: Stores) -> None:
        one = stores.used()
        await stores.grant(10_000)
        await stores.authorize(one, 1_500)
        (entry,) = await stores.record(one)
        assert entry.charged is not None
        given, charged = sorted(await stores.told(), key=lambda event: event.ROUTING_KEY, reverse=True)
        assert isinstance(given, CreditsGranted)
        assert charged == entry.charged
        assert await stores.told() == []

    async def test_an_event_that_was_not_published_stays_with_its_id(self, stores: Stores) -> None:
        await stores.told()
        await stores.grant(10_000)
        await stores.grant(10_000)
        seen: list[UUID] = []

        async def publish(events: Sequence[Outgoing]) -> list[UUID]:
            seen.extend(event.event_id for event in events)
            return [events[0].event_id]

        with pytest.raises(BusUnavailableError):
            await stores.outbox.relay(publish, limit=100)
        assert await stores.outbox.relay(publish, limit=100) == 1
        first, second, again = seen
        assert again == second != first

    async def test_a_receipt_has_the_attempts_in_order_and_the_event_whole(self, stores: Stores) -> None:
        second = stores.used(attempt=2, usage_raw={"prompt_tokens": 10, "x": [1, {"y": None}]})
        first = stores.used(
            run_id=second.event.run_id,
            key_source=KeySource.USER,
            provider_cost_usd="0.1",
            credential_id="5f1e",
            credential_version=3,
            consent_id="yes-1",
            would_refuse_policy=KeyPolicy.USER_KEY_REQUIRED,
            error_code="provider_rate_limited",
            retry_after_s=2.5,
        )
        await stores.record(second, first)
        found = await stores.usage.of_run(stores.user_id, second.event.run_id)
        assert [attempt.usage for attempt in found] == [first.event, second.event]
        assert [(a.cost_micros, a.charged_micros) for a in found] == [(_WORTH, 0), (_WORTH, _WORTH)]
        assert await stores.usage.of_run(f"eve-{new_id()}", second.event.run_id) == []

    async def test_of_a_thousand_at_once_a_balance_for_a_hundred_carries_a_hundred(
        self, stores: Stores
    ) -> None:
        await stores.grant(100 * _WORTH)
        batch = [stores.used() for _ in range(1_000)]
        results = await asyncio.gather(
            *(stores.authorize(one, _WORTH) for one in batch), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, InsufficientCreditsError)]
        assert len(refused) == 900
        assert await stores.balance() == (100 * _WORTH, 100 * _WORTH, 0)

    async def test_the_same_run_authorized_at_once_is_held_once(self, stores: Stores) -> None:
        one = stores.used()
        await stores.grant(10_000)
        holds = await asyncio.gather(*(stores.authorize(one, 1_000) for _ in range(20)))
        assert {hold.amount_micros for hold in holds} == {1_000}
        assert await stores.balance() == (10_000, 1_000, 0)

    async def test_holds_taken_together_are_answered_in_order(self, stores: Stores) -> None:
        await stores.grant(10_000)
        big, small, same = stores.used(), stores.used(), stores.used()
        wanted = [
            hold_for(same.event, 4_000),
            hold_for(big.event, 7_000),
            hold_for(same.event, 5_000),
            hold_for(small.event, 6_000),
        ]
        first, refused, again, last = await stores.ledger.authorize(wanted)
        assert (first, again, last) == (wanted[0], wanted[0], wanted[3])
        assert isinstance(refused, InsufficientCreditsError)
        assert await stores.balance() == (10_000, 10_000, 0)

    async def test_a_hold_that_cannot_be_kept_keeps_nothing_of_its_batch(self, stores: Stores) -> None:
        await stores.grant(10_000)
        good = hold_for(stores.used().event, 1_000)
        with pytest.raises(InvalidRequestError):
            await stores.ledger.authorize([good, replace(good, run_id=new_id(), user_id="\x00")])
        assert await stores.balance() == (10_000, 0, 0)

    async def test_everything_at_once(self, stores: Stores) -> None:
        others = [replace(stores, user_id=f"user-{new_id()}") for _ in range(5)]
        batch = [who.used() for who in others for _ in range(10)]
        for who in others:
            await who.grant(1_000_000)
        past = datetime.now(UTC) - timedelta(seconds=1)
        for n, one in enumerate(batch):
            await stores.authorize(one, 3_000, **({"expires_at": past} if n % 3 == 0 else {}))
        Random(3).shuffle(batch)
        await asyncio.gather(
            *(stores.record(*batch[start : start + 20]) for start in range(0, 50, 10)),
            *(stores.ledger.expire_holds(datetime.now(UTC)) for _ in range(5)),
            *(who.grant(100) for who in others),
            *(stores.authorize(who.used(), 1_000) for who in others),
        )
        spent = 0
        for who in others:
            balance, held, receivable = await who.balance()
            assert held == 1_000
            spent += 1_000_100 - balance + receivable
        assert spent == 50 * _WORTH
        assert await stores.faults() == []


class TestInMemory(LedgerContract):
    @pytest.fixture
    def stores(self) -> Stores:
        store = InMemoryLedgerStore()
        return Stores(store, store, store, store, store.faults, f"user-{new_id()}")


class TestPostgres(LedgerContract):
    @pytest_asyncio.fixture
    async def stores(self, pool_for: PoolFor) -> AsyncIterator[Stores]:
        pool = await pool_for("billing")

        async def faults() -> Sequence[object]:
            return await pool.fetch("SELECT * FROM ledger_faults")

        yield Stores(
            PostgresLedgerStore(pool),
            PostgresCreditStore(pool),
            PostgresUsageStore(pool),
            PostgresOutbox(pool),
            faults,
            f"user-{new_id()}",
        )
