"""The law of the ledger, in memory: thousands of steps of whatever may happen."""

from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from services.billing.domain.settlement import is_platforms
from services.billing.ports import Entry
from tests.fakes.billing_ledger import InMemoryLedgerStore
from tests.ledger_law import Billed, Moved, is_free
from tests.ledger_machine import try_to_break

pytestmark = pytest.mark.unit


class InMemoryWorld:
    """See `World`."""

    def __init__(self) -> None:
        self.ledger = self.credits = self._store = InMemoryLedgerStore()

    def tear(self) -> None:
        self._store.torn = True

    async def moved(self, users: Sequence[str]) -> list[Moved]:
        return [
            Moved(each.cause, each.debit, each.credit, each.amount_micros)
            for each in self._store.transfers
            if each.user_id in users
        ]

    async def billed(self, users: Sequence[str]) -> list[Billed]:
        return [_billed(entry) for entry in self._store.entries if entry.usage.event.user_id in users]

    async def faults(self) -> Sequence[object]:
        return await self._store.faults()


def _billed(entry: Entry) -> Billed:
    event = entry.usage.event
    return Billed(
        is_platforms=is_platforms(event.key_source),
        is_free=is_free(event.policy, event.outcome),
        cost_micros=entry.cost_micros,
        charged_micros=entry.settlement.charged_micros,
    )


def _at_once(coroutine: Awaitable[Any]) -> Any:
    """Complete what never waits."""
    try:
        coroutine.__await__().send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


def test_the_law_holds_whatever_happens() -> None:
    try_to_break(InMemoryWorld, _at_once, examples=80, steps=40)
