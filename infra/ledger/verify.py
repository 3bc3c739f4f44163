"""The invariants of the live tables, as the database itself states them (`billing.ledger_faults`)."""

from dataclasses import dataclass
from typing import Final

from infra.bootstrap.postgres import connect

_FAULTS: Final = """
SELECT fault, subject, kept_micros, rebuilt_micros FROM billing.ledger_faults ORDER BY fault, subject
"""
_SIZE: Final = """
SELECT (SELECT count(*) FROM billing.accounts) AS accounts,
       (SELECT count(*) FROM billing.transfers) AS transfers
"""


@dataclass(frozen=True)
class Fault:
    """An invariant that does not hold for `subject`, an id; None where there is no second amount."""

    what: str
    subject: str
    kept_micros: int
    rebuilt_micros: int | None

    def __str__(self) -> str:
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
        (size,) = await database.fetch(_SIZE)
    return Verdict(size["accounts"], size["transfers"], tuple(Fault(*row) for row in found))
