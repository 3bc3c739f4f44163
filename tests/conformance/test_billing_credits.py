"""One behaviour of what users have, in memory and in Postgres."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from services.billing.adapters.postgres_credits import PostgresCreditStore
from services.billing.domain.movement import Movement, plan
from services.billing.ports import CreditStore
from shared.contracts.credits import CreditsAdjusted, CreditsGranted, CreditsMoved, StatementEntry
from shared.contracts.message import Envelope
from shared.kernel.errors import ConflictError, InsufficientCreditsError, InvalidRequestError
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, TransferCause, TransferKind
from tests.fakes.billing_ledger import InMemoryLedgerStore
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance

GRANT, ADJUSTMENT, DEDUCTION = TransferCause.GRANT, TransferCause.ADJUSTMENT, TransferCause.DEDUCTION


@dataclass
class Stores:
    """One implementation, and a user of the test's own. `told`: the events that wait, as CloudEvents."""

    credits: CreditStore
    told: Callable[[], Awaitable[Sequence[str]]]
    faults: Callable[[], Awaitable[Sequence[object]]]
    user_id: str = field(default_factory=lambda: f"user-{new_id()}")

    def movement(self, cause: TransferCause, amount_micros: int, key: str | None = None) -> Movement:
        return Movement(
            transfer_id=new_id(),
            cause=cause,
            user_id=self.user_id,
            amount_micros=amount_micros,
            idempotency_key=key or str(new_id()),
            made_by="root",
            reason=None if cause is GRANT else "because",
        )

    async def move(self, cause: TransferCause, amount_micros: int, key: str | None = None) -> CreditsMoved:
        return await self.credits.move(self.movement(cause, amount_micros, key), plan)

    async def balance(self) -> tuple[int, int, int]:
        found = await self.credits.balance(self.user_id)
        return found.balance_micros, found.held_micros, found.receivable_micros

    async def statement(self, limit: int = 200) -> list[StatementEntry]:
        """All of it, page by page."""
        entries, cursor = list[StatementEntry](), None
        while True:
            page = await self.credits.statement(self.user_id, limit=limit, cursor=cursor)
            assert len(page.items) <= limit
            entries.extend(page.items)
            if (cursor := page.next_cursor) is None:
                return entries

    async def events(self) -> list[dict[str, Any]]:
        told = [Envelope.decode(body.encode()) for body in await self.told()]
        return [one.data | {"type": one.type} for one in told if one.data["user_id"] == self.user_id]


def _changes(entries: Sequence[StatementEntry]) -> list[tuple[str, int, int, int]]:
    """Kind, what it changed, what it changed of what is owed, what there was then; oldest first."""
    return [
        (entry.kind.value, entry.amount_micros, entry.receivable_micros, entry.balance_micros)
        for entry in reversed(entries)
    ]


class CreditsContract:
    """What every store does. Subclasses bring the fixture `stores`."""

    async def test_a_user_without_an_account_has_nothing(self, stores: Stores) -> None:
        assert await stores.balance() == (0, 0, 0)
        assert await stores.statement() == []

    async def test_a_grant(self, stores: Stores) -> None:
        movement = stores.movement(GRANT, 5_000)
        moved = await stores.credits.move(movement, plan)
        assert moved == CreditsMoved(
            transfer_id=movement.transfer_id,
            user_id=stores.user_id,
            amount_micros=5_000,
            receivable_micros=0,
            balance_micros=5_000,
            created_at=moved.created_at,
        )
        assert await stores.balance() == (5_000, 0, 0)
        assert await stores.events() == [
            {
                "type": CreditsGranted.event_type(),
                "transfer_id": str(movement.transfer_id),
                "user_id": stores.user_id,
                "amount_micros": 5_000,
                "repaid_micros": 0,
                "granted_by": "root",
            }
        ]
        assert await stores.faults() == []

    async def test_a_correction_takes_what_is_there_and_the_rest_is_owed(self, stores: Stores) -> None:
        await stores.move(GRANT, 1_000)
        moved = await stores.move(ADJUSTMENT, -1_500)
        assert (moved.amount_micros, moved.receivable_micros, moved.balance_micros) == (-1_500, 500, 0)
        assert await stores.balance() == (0, 0, 500)
        assert _changes(await stores.statement()) == [
            ("grant", 1_000, 0, 1_000),
            ("adjustment", -1_000, 0, 0),
            ("receivable", 0, 500, 0),
        ]
        assert await stores.faults() == []

    @pytest.mark.parametrize(
        ("cause", "amount", "owed", "left"),
        [
            (GRANT, 300, 200, 0),
            (GRANT, 500, 0, 0),
            (GRANT, 700, 0, 200),
            (ADJUSTMENT, 300, 200, 0),
            (ADJUSTMENT, 700, 0, 200),
        ],
    )
    async def test_what_is_given_pays_what_is_owed_first(
        self, stores: Stores, cause: TransferCause, amount: int, owed: int, left: int
    ) -> None:
        await stores.move(ADJUSTMENT, -500)
        assert await stores.balance() == (0, 0, 500)
        moved = await stores.move(cause, amount)
        assert (moved.amount_micros, moved.receivable_micros) == (amount, owed - 500)
        assert moved.balance_micros == left
        assert await stores.balance() == (left, 0, owed)
        assert _changes(await stores.statement()) == [
            ("receivable", 0, 500, 0),
            (cause.value, amount, 0, amount),
            ("repayment", owed - 500, owed - 500, left),
        ]
        told = (await stores.events())[-1]
        assert told.get("repaid_micros", -told.get("receivable_micros", 0)) == 500 - owed
        assert await stores.faults() == []

    async def test_a_feature_is_charged_while_there_is_enough(self, stores: Stores) -> None:
        await stores.move(GRANT, 1_000)
        assert (await stores.move(DEDUCTION, -1_000, "k")).balance_micros == 0
        with pytest.raises(InsufficientCreditsError):
            await stores.move(DEDUCTION, -1)
        assert (await stores.move(DEDUCTION, -1_000, "k")).amount_micros == -1_000
        assert await stores.balance() == (0, 0, 0)
        told = (await stores.events())[-1]
        assert (told["type"], told["cause"], told["amount_micros"], told["reason"]) == (
            CreditsAdjusted.event_type(),
            "deduction",
            -1_000,
            "because",
        )

    async def test_a_refused_charge_leaves_nothing(self, stores: Stores) -> None:
        with pytest.raises(InsufficientCreditsError):
            await stores.move(DEDUCTION, -1, "k")
        assert await stores.statement() == []
        assert await stores.events() == []
        await stores.move(GRANT, 10)
        assert (await stores.move(DEDUCTION, -1, "k")).balance_micros == 9

    @pytest.mark.parametrize("cause", [GRANT, ADJUSTMENT, DEDUCTION])
    async def test_the_same_again_is_what_was_made(self, stores: Stores, cause: TransferCause) -> None:
        await stores.move(ADJUSTMENT, -300)
        await stores.move(GRANT, 1_000)
        amount = -400 if cause is DEDUCTION else 400
        first = await stores.move(cause, amount, "k-" + stores.user_id)
        await stores.move(GRANT, 5)
        again = await stores.move(cause, amount, "k-" + stores.user_id)
        assert again == first.model_copy(update={"balance_micros": first.balance_micros + 5})
        assert len(await stores.events()) == 4

    async def test_a_repaying_grant_again_is_what_was_made(self, stores: Stores) -> None:
        await stores.move(ADJUSTMENT, -300)
        key = str(new_id())
        first = await stores.move(GRANT, 1_000, key)
        assert (first.receivable_micros, first.balance_micros) == (-300, 700)
        assert await stores.move(GRANT, 1_000, key) == first

    async def test_a_wholly_owed_correction_again_is_what_was_made(self, stores: Stores) -> None:
        key = str(new_id())
        first = await stores.move(ADJUSTMENT, -300, key)
        assert (first.amount_micros, first.receivable_micros) == (-300, 300)
        await stores.move(GRANT, 1_000)
        again = await stores.move(ADJUSTMENT, -300, key)
        assert (again.amount_micros, again.receivable_micros, again.balance_micros) == (-300, 300, 700)
        assert await stores.balance() == (700, 0, 0)

    @pytest.mark.parametrize(
        "other",
        [{"amount_micros": 6}, {"reason": "other"}, {"run_id": new_id()}, {"user_id": "someone"}],
        ids=["amount", "reason", "run", "user"],
    )
    async def test_a_key_with_other_contents_is_a_conflict(
        self, stores: Stores, other: dict[str, Any]
    ) -> None:
        movement = stores.movement(ADJUSTMENT, 5)
        await stores.credits.move(movement, plan)
        with pytest.raises(ConflictError):
            await stores.credits.move(replace(movement, **other), plan)
        assert await stores.balance() == (5, 0, 0)

    async def test_each_cause_has_keys_of_its_own(self, stores: Stores) -> None:
        key = str(new_id())
        moved = [
            await stores.move(cause, amount, key)
            for cause, amount in ((GRANT, 10), (ADJUSTMENT, 10), (DEDUCTION, -10))
        ]
        assert len({one.transfer_id for one in moved}) == 3
        assert await stores.balance() == (10, 0, 0)

    async def test_each_paying_user_has_keys_of_their_own(self, stores: Stores) -> None:
        whole = stores.user_id
        for user_id, key in ((f"{whole}:a", "b"), (whole, "a:b"), (f"{whole}%3Aa", "b")):
            stores.user_id = user_id
            await stores.move(GRANT, 10)
            assert (await stores.move(DEDUCTION, -4, key)).balance_micros == 6

    async def test_50_at_once_with_one_key_are_one(self, stores: Stores) -> None:
        movements = [stores.movement(GRANT, 7, "k-" + stores.user_id) for _ in range(50)]
        moved = await asyncio.gather(*(stores.credits.move(one, plan) for one in movements))
        assert all(one == moved[0] for one in moved)
        assert await stores.balance() == (7, 0, 0)
        assert len(await stores.events()) == 1
        assert len(await stores.statement()) == 1

    async def test_users_at_once_with_one_key_are_one_and_conflicts(self, stores: Stores) -> None:
        movement = stores.movement(GRANT, 7)
        users = [f"{stores.user_id}-{number}" for number in range(20)]
        answers = await asyncio.gather(
            *(stores.credits.move(replace(movement, user_id=user), plan) for user in users),
            return_exceptions=True,
        )
        kinds = sorted(type(answer).__name__ for answer in answers)
        assert kinds == ["ConflictError"] * 19 + ["CreditsMoved"]

    async def test_charges_at_once_never_overdraw(self, stores: Stores) -> None:
        await stores.move(GRANT, 100)
        answers = await asyncio.gather(
            *(stores.move(DEDUCTION, -30) for _ in range(20)), return_exceptions=True
        )
        assert sum(isinstance(answer, InsufficientCreditsError) for answer in answers) == 17
        assert await stores.balance() == (10, 0, 0)

    async def test_more_than_an_account_can_hold_is_refused(self, stores: Stores) -> None:
        await stores.move(ADJUSTMENT, 2**62)
        with pytest.raises(InvalidRequestError):
            await stores.move(ADJUSTMENT, 2**62)
        assert await stores.balance() == (2**62, 0, 0)
        await stores.move(ADJUSTMENT, -(2**62))
        assert await stores.faults() == []

    async def test_what_cannot_be_kept_is_refused(self, stores: Stores) -> None:
        with pytest.raises(InvalidRequestError):
            await stores.credits.move(replace(stores.movement(ADJUSTMENT, 1), reason="a\x00b"), plan)

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
    async def test_a_statement_adds_up_on_every_page(self, stores: Stores, limit: int) -> None:
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

    async def test_pages_stay_right_while_new_entries_come_in(self, stores: Stores) -> None:
        for amount in (1, 2, 3, 4):
            await stores.move(GRANT, amount)
        first = await stores.credits.statement(stores.user_id, limit=2, cursor=None)
        await stores.move(GRANT, 100)
        await stores.move(DEDUCTION, -50)
        rest = await stores.credits.statement(stores.user_id, limit=2, cursor=first.next_cursor)
        seen = [(entry.amount_micros, entry.balance_micros) for entry in (*first.items, *rest.items)]
        assert seen == [(4, 10), (3, 6), (2, 3), (1, 1)]
        assert rest.next_cursor is None

    async def test_a_statement_is_right_at_every_moment(self, stores: Stores) -> None:
        """Balance and entries of a page are of one moment, whoever moves credits meanwhile."""
        moving = asyncio.gather(*(stores.move(GRANT, 1) for _ in range(40)))
        while not moving.done():
            page = await stores.credits.statement(stores.user_id, limit=200, cursor=None)
            balances = [entry.balance_micros for entry in page.items]
            assert balances == list(range(len(balances), 0, -1))
            await asyncio.sleep(0)
        await moving

    @pytest.mark.parametrize("cursor", ["", "x", "MXwyfDM=", "YXxi", "OTk5OTk5OTk5OTk5OTk5OTk5OTl8MQ=="])
    async def test_a_foreign_cursor_is_refused(self, stores: Stores, cursor: str) -> None:
        with pytest.raises(InvalidRequestError):
            await stores.credits.statement(stores.user_id, limit=1, cursor=cursor)

    async def test_a_statement_is_its_users_alone(self, stores: Stores) -> None:
        await stores.move(GRANT, 10)
        page = await stores.credits.statement("someone-" + stores.user_id, limit=10, cursor=None)
        assert (page.items, page.next_cursor) == ((), None)
        (entry,) = await stores.statement()
        assert (entry.kind, entry.run_id, entry.attempt) == (TransferKind.GRANT, None, None)


class TestInMemory(CreditsContract):
    @pytest.fixture
    def stores(self) -> Stores:
        store = InMemoryLedgerStore()

        async def told() -> list[str]:
            return [event.body for event in store.events]

        return Stores(store, told, store.faults)


class TestPostgres(CreditsContract):
    @pytest.fixture
    async def stores(self, pool_for: PoolFor) -> Stores:
        pool = await pool_for(BILLING)

        async def told() -> list[str]:
            return [row["body"] for row in await pool.fetch("SELECT body FROM outbox ORDER BY created_at")]

        async def faults() -> Sequence[object]:
            return await pool.fetch("SELECT * FROM ledger_faults")

        return Stores(PostgresCreditStore(pool), told, faults)
