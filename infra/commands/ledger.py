"""`latchkey ledger verify`: the balances against their entries."""

import argparse
import asyncio
from typing import Any

import asyncpg

from infra.bootstrap.postgres import connect
from infra.commands.settings import setting

_FAULTS = "SELECT fault, subject, kept_micros, rebuilt_micros FROM billing.ledger_faults"
_SIZE = """
SELECT (SELECT count(*) FROM billing.accounts) AS accounts,
       (SELECT count(*) FROM billing.transfers) AS transfers
"""


def add_to(commands: Any) -> None:
    ledger = commands.add_parser("ledger", help="check the ledger")
    ledger.add_argument("what", choices=["verify"], help="rebuild all balances and compare")
    ledger.set_defaults(run=_ledger)


def _ledger(_args: argparse.Namespace) -> int:
    """Return 0 when every balance is what its transfers and holds say, 1 otherwise."""
    faults, size = asyncio.run(_verify(setting("LATCHKEY_POSTGRES_URL")))
    for fault in faults:
        kept, rebuilt = fault["kept_micros"], fault["rebuilt_micros"]
        print(f"{fault['fault']} ({fault['subject']}): kept {kept}, rebuilt {rebuilt} credit micros")
    verdict = f"{len(faults)} faults" if faults else "it adds up"
    print(f"{size['accounts']} accounts, {size['transfers']} transfers: {verdict}")
    return 1 if faults else 0


async def _verify(url: str) -> tuple[list[asyncpg.Record], asyncpg.Record]:
    async with connect(url) as database, database.transaction(isolation="repeatable_read", readonly=True):
        return await database.fetch(_FAULTS), (await database.fetch(_SIZE))[0]
