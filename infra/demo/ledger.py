"""The ledger as its auditor finds it, and some users' part of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from infra.demo.checks import check
from infra.ledger.verify import Verdict, verify

_USER = """
SELECT coalesce(sum(amount_micros) FILTER (WHERE entry.kind = 'grant'), 0)::bigint AS granted_micros,
       coalesce(sum(amount_micros) FILTER (WHERE entry.kind <> 'grant'), 0)::bigint AS charged_micros,
       coalesce((SELECT sum(posted_micros) FROM billing.accounts WHERE user_id = $1), 0)::bigint
         AS balance_micros,
       coalesce((SELECT sum(held_micros) FROM billing.accounts WHERE user_id = $1), 0)::bigint AS held_micros,
       (SELECT count(*) FROM billing.holds WHERE user_id = $1 AND state = 'held') AS open_holds
FROM billing.transfers AS entry
JOIN billing.accounts AS account ON account.id IN (entry.debit_account, entry.credit_account)
WHERE account.user_id = $1
"""


@dataclass(frozen=True)
class UserBooks:
    """One user's money: granted and charged from the entries, the rest as the accounts say."""

    granted_micros: int
    charged_micros: int
    balance_micros: int
    held_micros: int
    open_holds: int


@dataclass(frozen=True)
class Ledger:
    """What `latchkey ledger verify` says of the whole, and some users' books."""

    whole: Verdict
    users: dict[str, UserBooks]


async def read_ledger(postgres_url: str, user_ids: Sequence[str]) -> Ledger:
    """Read it with the administrator's URL."""
    connection = await asyncpg.connect(postgres_url)
    try:
        users = {user: await connection.fetchrow(_USER, user) for user in user_ids}
    finally:
        await connection.close()
    books = {user: UserBooks(**dict(row or {})) for user, row in users.items()}
    return Ledger(await verify(postgres_url), books)


def check_ledger(ledger: Ledger) -> None:
    """The ledger adds up, as a whole and for each user. Raises StoryError."""
    check(not ledger.whole.faults, "; ".join(map(str, ledger.whole.faults)))
    for user, books in ledger.users.items():
        expected = books.granted_micros - books.charged_micros
        check(books.balance_micros == expected, f"{user} has {books.balance_micros} micros, not {expected}")
        check(books.held_micros == 0, f"{books.held_micros} micros of {user} are held")
        check(books.open_holds == 0, f"{books.open_holds} holds of {user} are open")
