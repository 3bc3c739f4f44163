"""One behaviour of what users have, in memory and in Postgres."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.billing.domain.movement import plan
from shared.contracts.credits import CreditsAdjusted, CreditsGranted, CreditsMoved
from shared.kernel.errors import ConflictError, InsufficientCreditsError, InvalidRequestError
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, TransferCause
from tests.conformance.billing_credits import (
    ADJUSTMENT,
    DEDUCTION,
    GRANT,
    CreditStores,
    changes,
    in_memory,
    in_postgres,
)
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance


class CreditsContract:
    """What every store does. Subclasses bring the fixture `stores`."""

    async def test_a_user_without_an_account_has_nothing(self, stores: CreditStores) -> None:
        assert await stores.balance() == (0, 0, 0)
        assert await stores.statement() == []

    async def test_a_grant(self, stores: CreditStores) -> None:
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
                "idempotency_key": movement.idempotency_key,
            }
        ]
        assert await stores.faults() == []

    async def test_a_correction_takes_what_is_there_and_the_rest_is_owed(self, stores: CreditStores) -> None:
        await stores.move(GRANT, 1_000)
        moved = await stores.move(ADJUSTMENT, -1_500)
        assert (moved.amount_micros, moved.receivable_micros, moved.balance_micros) == (-1_500, 500, 0)
        assert await stores.balance() == (0, 0, 500)
        assert changes(await stores.statement()) == [
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
        self, stores: CreditStores, cause: TransferCause, amount: int, owed: int, left: int
    ) -> None:
        await stores.move(ADJUSTMENT, -500)
        assert await stores.balance() == (0, 0, 500)
        moved = await stores.move(cause, amount)
        assert (moved.amount_micros, moved.receivable_micros) == (amount, owed - 500)
        assert moved.balance_micros == left
        assert await stores.balance() == (left, 0, owed)
        assert changes(await stores.statement()) == [
            ("receivable", 0, 500, 0),
            (cause.value, amount, 0, amount),
            ("repayment", owed - 500, owed - 500, left),
        ]
        told = (await stores.events())[-1]
        assert told.get("repaid_micros", -told.get("receivable_micros", 0)) == 500 - owed
        assert await stores.faults() == []

    async def test_a_feature_is_charged_while_there_is_enough(self, stores: CreditStores) -> None:
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

    async def test_a_refused_charge_leaves_nothing(self, stores: CreditStores) -> None:
        with pytest.raises(InsufficientCreditsError):
            await stores.move(DEDUCTION, -1, "k")
        assert await stores.statement() == []
        assert await stores.events() == []
        await stores.move(GRANT, 10)
        assert (await stores.move(DEDUCTION, -1, "k")).balance_micros == 9

    @pytest.mark.parametrize("cause", [GRANT, ADJUSTMENT, DEDUCTION])
    async def test_the_same_again_is_what_was_made(self, stores: CreditStores, cause: TransferCause) -> None:
        await stores.move(ADJUSTMENT, -300)
        await stores.move(GRANT, 1_000)
        amount = -400 if cause is DEDUCTION else 400
        first = await stores.move(cause, amount, "k-" + stores.user_id)
        await stores.move(GRANT, 5)
        again = await stores.move(cause, amount, "k-" + stores.user_id)
        assert again == first.model_copy(update={"balance_micros": first.balance_micros + 5})
        assert len(await stores.events()) == 4

    async def test_a_repaying_grant_again_is_what_was_made(self, stores: CreditStores) -> None:
        await stores.move(ADJUSTMENT, -300)
        key = str(new_id())
        first = await stores.move(GRANT, 1_000, key)
        assert (first.receivable_micros, first.balance_micros) == (-300, 700)
        assert await stores.move(GRANT, 1_000, key) == first

    async def test_a_wholly_owed_correction_again_is_what_was_made(self, stores: CreditStores) -> None:
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
        self, stores: CreditStores, other: dict[str, Any]
    ) -> None:
        movement = stores.movement(ADJUSTMENT, 5)
        await stores.credits.move(movement, plan)
        with pytest.raises(ConflictError):
            await stores.credits.move(replace(movement, **other), plan)
        assert await stores.balance() == (5, 0, 0)

    async def test_each_cause_has_keys_of_its_own(self, stores: CreditStores) -> None:
        key = str(new_id())
        moved = [
            await stores.move(cause, amount, key)
            for cause, amount in ((GRANT, 10), (ADJUSTMENT, 10), (DEDUCTION, -10))
        ]
        assert len({one.transfer_id for one in moved}) == 3
        assert await stores.balance() == (10, 0, 0)

    async def test_each_paying_user_has_keys_of_their_own(self, stores: CreditStores) -> None:
        whole = stores.user_id
        for user_id, key in ((f"{whole}:a", "b"), (whole, "a:b"), (f"{whole}%3Aa", "b")):
            stores.user_id = user_id
            await stores.move(GRANT, 10)
            assert (await stores.move(DEDUCTION, -4, key)).balance_micros == 6

    async def test_50_at_once_with_one_key_are_one(self, stores: CreditStores) -> None:
        movements = [stores.movement(GRANT, 7, "k-" + stores.user_id) for _ in range(50)]
        moved = await asyncio.gather(*(stores.credits.move(one, plan) for one in movements))
        assert all(one == moved[0] for one in moved)
        assert await stores.balance() == (7, 0, 0)
        assert len(await stores.events()) == 1
        assert len(await stores.statement()) == 1

    async def test_users_at_once_with_one_key_are_one_and_conflicts(self, stores: CreditStores) -> None:
        movement = stores.movement(GRANT, 7)
        users = [f"{stores.user_id}-{number}" for number in range(20)]
        answers = await asyncio.gather(
            *(stores.credits.move(replace(movement, user_id=user), plan) for user in users),
            return_exceptions=True,
        )
        kinds = sorted(type(answer).__name__ for answer in answers)
        assert kinds == ["ConflictError"] * 19 + ["CreditsMoved"]

    async def test_charges_at_once_never_overdraw(self, stores: CreditStores) -> None:
        await stores.move(GRANT, 100)
        answers = await asyncio.gather(
            *(stores.move(DEDUCTION, -30) for _ in range(20)), return_exceptions=True
        )
        assert sum(isinstance(answer, InsufficientCreditsError) for answer in answers) == 17
        assert await stores.balance() == (10, 0, 0)

    async def test_more_than_an_account_can_hold_is_refused(self, stores: CreditStores) -> None:
        await stores.move(ADJUSTMENT, 2**62)
        with pytest.raises(InvalidRequestError):
            await stores.move(ADJUSTMENT, 2**62)
        assert await stores.balance() == (2**62, 0, 0)
        await stores.move(ADJUSTMENT, -(2**62))
        assert await stores.faults() == []

    async def test_what_cannot_be_kept_is_refused(self, stores: CreditStores) -> None:
        with pytest.raises(InvalidRequestError):
            await stores.credits.move(replace(stores.movement(ADJUSTMENT, 1), reason="a\x00b"), plan)


class TestInMemory(CreditsContract):
    @pytest.fixture
    def stores(self) -> CreditStores:
        return in_memory()


class TestPostgres(CreditsContract):
    @pytest.fixture
    async def stores(self, pool_for: PoolFor) -> CreditStores:
        return in_postgres(await pool_for(BILLING))
