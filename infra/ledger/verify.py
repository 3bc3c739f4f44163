"""The invariants of the live tables, as the database itself states them (`billing.ledger_faults`), and the
triggers that keep them.
"""

from dataclasses import dataclass
from typing import Final

from infra.bootstrap.postgres import connect

_FAULTS: Final = """
SELECT fault, subject, kept_micros, rebuilt_micros FROM billing.ledger_faults ORDER BY fault, subject
"""
GUARDS: Final = (
    ("accounts", "append_only"),
    ("checkpoint_balances", "append_only"),
    ("checkpoints", "append_only"),
    ("holds", "append_only"),
    ("holds", "end_once"),
    ("holds", "free"),
    ("holds", "take"),
    ("prices", "append_only"),
    ("transfers", "append_only"),
    ("transfers", "post"),
    ("usage", "append_only"),
)
"""Triggers, by table."""
_OFF: Final = "a trigger is missing or switched off"
# As they fire in an ordinary session.
_UNGUARDED: Final = """
SELECT relation || ', ' || guard
FROM unnest($1::text[], $2::text[]) AS wanted (relation, guard)
WHERE NOT EXISTS (
    SELECT FROM pg_trigger
    WHERE tgrelid = to_regclass('billing.' || relation) AND tgname = guard AND tgenabled IN ('O', 'A')
)
"""
_SIZE: Final = """
SELECT (SELECT count(*) FROM billing.accounts) AS accounts,
       (SELECT count(*) FROM billing.transfers) AS transfers
"""


@dataclass(frozen=True)
class Fault:
    """An invariant that does not hold for `subject`, an id or a trigger; None where there is no amount."""

    what: str
    subject: str
    kept_micros: int | None = None
    rebuilt_micros: int | None = None

    def __str__(self) -> str:
        if self.kept_micros is None:
            return f"{self.what}: {self.subject}"
        rebuilt = "" if self.rebuilt_micros is None else f", should be {self.rebuilt_micros}"
        return f"{self.what}: {self.subject}: {self.kept_micros} credit micros{rebuilt}"


@dataclass(frozen=True)
class Verdict:
    """What one consistent look at the tables found."""

    accounts: int
    transfers: int
    faults: tuple[Fault, ...]


async def verify(postgres_url: str) -> Verdict:
    """Look at the whole ledger, with the administrator's URL. Raises OSError, asyncpg.PostgresError."""
    async with (
        connect(postgres_url) as database,
        database.transaction(isolation="repeatable_read", readonly=True),
    ):
        found = await database.fetch(_FAULTS)
        unguarded = await database.fetch(_UNGUARDED, *zip(*GUARDS, strict=True))
        (size,) = await database.fetch(_SIZE)
    faults = (*(Fault(*row) for row in found), *(Fault(_OFF, *row) for row in unguarded))
    return Verdict(size["accounts"], size["transfers"], faults)
