"""`latchkey ledger`: whether the books are right, by themselves and beside the usage stream."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import Any, Final

import asyncpg

from infra.commands import rerate
from infra.event_stream import EventStream
from infra.ledger.errors import CannotTellError
from infra.ledger.rebuild import rebuild
from infra.ledger.verify import verify
from infra.local.console import complain
from infra.stack_settings import UsageError, setting

_CANNOT_TELL: Final = 2
_INTERRUPTED: Final = 130
_CODES: Final = "Exit code: 0 when all is well, 1 when something is not, 2 when it cannot be told."
_REBUILD: Final = f"""
Replays the usage stream into scratch tables, from its start or, where that is gone, from a checkpoint, and
prints what differs from the ledger's tables, by id: charges, transfers, balances. Works while runs go on.
A message that its service did not publish counts for nothing, and is a difference, too: somebody forges.
{_CODES}
"""


def add_to(commands: Any) -> None:
    ledger = commands.add_parser("ledger", help="check the ledger").add_subparsers(required=True)
    verifying = ledger.add_parser(
        "verify", help="check the tables' invariants", description=f"Prints what does not add up. {_CODES}"
    )
    verifying.set_defaults(run=_telling(_verify))
    rebuilding = ledger.add_parser(
        "rebuild", help="rebuild all from the stream and compare", description=_REBUILD
    )
    rebuilding.add_argument("--check", action="store_true", required=True, help="change nothing, compare")
    rebuilding.add_argument(
        "--wait", type=float, default=10, metavar="S", help="for what is still under way (default: 10)"
    )
    rebuilding.add_argument(
        "--accept", action="store_true", help="later checks begin after this one, whatever it finds"
    )
    rebuilding.set_defaults(run=_telling(_rebuild))
    rerate.add_to(ledger)


def _telling(check: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Never end as if all were well when nothing was found out."""

    def told(args: argparse.Namespace) -> int:
        try:
            return check(args)
        except ConnectionRefusedError as error:
            complain(f"it cannot be told: {error}; is the stack up? `make up` starts it")
            return _CANNOT_TELL
        except (CannotTellError, UsageError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            complain(f"it cannot be told: {error}")
            return _CANNOT_TELL
        except KeyboardInterrupt:
            complain("it was not told to the end")
            return _INTERRUPTED

    return told


def _verify(_args: argparse.Namespace) -> int:
    verdict = asyncio.run(verify(setting("LATCHKEY_POSTGRES_URL")))
    for fault in verdict.faults:
        print(fault)
    said = f"{len(verdict.faults)} faults" if verdict.faults else "it adds up"
    print(f"{verdict.accounts} accounts, {verdict.transfers} transfers: {said}")
    return 1 if verdict.faults else 0


def _rebuild(args: argparse.Namespace) -> int:
    stream = EventStream(setting("LATCHKEY_ANALYST_AMQP_URL"), lambda line: print(line, file=sys.stderr))
    rebuilt = asyncio.run(
        rebuild(
            setting("LATCHKEY_POSTGRES_URL"),
            stream,
            realm=args.realm,
            wait_s=args.wait,
            report=print,
            accept=args.accept,
        )
    )
    said = f"{rebuilt.differences} differences" if rebuilt.differences else "the same as the tables"
    kept = "" if rebuilt.checkpoint is None else f"; checkpoint at offset {rebuilt.checkpoint}"
    print(
        f"{rebuilt.end - rebuilt.start} messages from offset {rebuilt.start} on, {rebuilt.usage} usage "
        f"events, {rebuilt.transfers} transfers, {rebuilt.balances} balances: {said}{kept}"
    )
    return 1 if rebuilt.differences else 0
