"""Reading billing's ledger as an auditor does: from the entries, beside what the accounts say."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from infra.demo.checks import check

_WHOLE = """
SELECT count(*) AS accounts,
       (SELECT count(*) FROM billing.transfers) AS transfers,
       coalesce(sum(posted_micros), 0)::bigint AS sum_micros,
       count(*) FILTER (WHERE posted_micros <> rebuilt) AS wrong_accounts
FROM (
    SELECT posted_micros,
           coalesce((SELECT sum(amount_micros) FROM billing.transfers WHERE credit_account = account.id), 0)
         - coalesce((SELECT sum(amount_micros) FROM billing.transfers WHERE debit_account = account.id), 0)
           AS rebuilt
    FROM billing.accounts AS account
) AS audited
"""

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
    """The whole ledger, and some users' part of it. `wrong_accounts` differ from their entries."""

    accounts: int
    transfers: int
    sum_micros: int
    wrong_accounts: int
    users: dict[str, UserBooks]


async def read_ledger(postgres_url: str, user_ids: Sequence[str] = ()) -> Ledger:
    """One consistent look at the ledger, with the administrator's URL."""
    connection = await asyncpg.connect(postgres_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            whole = await connection.fetchrow(_WHOLE)
            users = {user: await connection.fetchrow(_USER, user) for user in user_ids}
    finally:
        await connection.close()
    books = {user: UserBooks(**dict(row or {})) for user, row in users.items()}
    return Ledger(**dict(whole or {}), users=books)


def check_ledger(ledger: Ledger) -> None:
    """The ledger adds up, as a whole and for each user. Raises StoryError."""
    check(ledger.sum_micros == 0, f"all accounts sum to {ledger.sum_micros} micros")
    check(ledger.wrong_accounts == 0, f"{ledger.wrong_accounts} accounts differ from their entries")
    for user, books in ledger.users.items():
        expected = books.granted_micros - books.charged_micros
        check(books.balance_micros == expected, f"{user} has {books.balance_micros} micros, not {expected}")
        check(books.held_micros == 0, f"{books.held_micros} micros of {user} are held")
        check(books.open_holds == 0, f"{books.open_holds} holds of {user} are open")
