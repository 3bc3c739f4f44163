"""What the behaviour of credit stores is told with: one store, and a user of the test's own."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.billing.adapters.postgres_credits import PostgresCreditStore
from services.billing.domain.movement import Movement, plan
from services.billing.ports import CreditStore
from shared.contracts.credits import CreditsMoved, StatementEntry
from shared.contracts.message import Envelope
from shared.kernel.ids import new_id
from shared.kernel.names import TransferCause
from shared.runtime.postgres import Pool
from tests.fakes.billing import movement
from tests.fakes.billing_ledger import InMemoryLedgerStore

GRANT: Final = TransferCause.GRANT
ADJUSTMENT: Final = TransferCause.ADJUSTMENT
DEDUCTION: Final = TransferCause.DEDUCTION


@dataclass
class CreditStores:
    """One implementation, and a user of the test's own. `told`: the events that wait, as CloudEvents."""

    credits: CreditStore
    told: Callable[[], Awaitable[Sequence[str]]]
    faults: Callable[[], Awaitable[Sequence[object]]]
    user_id: str = field(default_factory=lambda: f"user-{new_id()}")

    def movement(self, cause: TransferCause, amount_micros: int, key: str | None = None) -> Movement:
        return movement(cause, self.user_id, amount_micros, idempotency_key=key or str(new_id()))

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


def in_memory() -> CreditStores:
    store = InMemoryLedgerStore()

    async def told() -> list[str]:
        return [event.body for event in store.events]

    return CreditStores(store, told, store.faults)


def in_postgres(pool: Pool) -> CreditStores:
    async def told() -> list[str]:
        return [row["body"] for row in await pool.fetch("SELECT body FROM outbox ORDER BY created_at")]

    async def faults() -> Sequence[object]:
        return await pool.fetch("SELECT * FROM ledger_faults")

    return CreditStores(PostgresCreditStore(pool), told, faults)


def changes(entries: Sequence[StatementEntry]) -> list[tuple[str, int, int, int]]:
    """Kind, what it changed, what it changed of what is owed, what there was then; oldest first."""
    return [
        (entry.kind.value, entry.amount_micros, entry.receivable_micros, entry.balance_micros)
        for entry in reversed(entries)
    ]
