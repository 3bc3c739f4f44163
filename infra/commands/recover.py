"""`latchkey recover`: a restored database, brought up to the streams."""

import argparse
import asyncio
from datetime import datetime
from typing import Any, Final

import asyncpg

from infra.commands.times import time_argument
from infra.event_stream import FIRST
from infra.local.console import complain
from infra.recovery.beginning import EPOCH
from infra.recovery.errors import RecoveryError
from infra.recovery.ledger import LeftOut
from infra.recovery.recover import Recovered, recover
from infra.stack_settings import UsageError, setting
from shared.kernel.errors import PlatformError

_NOT_DONE: Final = 2
_FAILURES = (RecoveryError, UsageError, PlatformError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
_ABOUT: Final = """
Adds to a database that was restored from a backup what it missed: attempts, charges, grants and adjustments
from the usage stream, revoked and replaced keys and consents from the audit stream. Charges what was used and
not charged, also when RabbitMQ's data was lost. The services have to be stopped. May be repeated.
Exit code: 0 when all is there, 1 when something is left out, 2 when it was not done.
"""


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "recover", help="after a backup was restored: add what the streams tell since", description=_ABOUT
    )
    parser.add_argument(
        "--from",
        dest="start",
        type=_start,
        metavar="T",
        help="`first`, or RFC 3339, if earlier than an hour before what the database knew last",
    )
    parser.set_defaults(run=_recover)


def _start(text: str) -> datetime:
    return EPOCH if text == FIRST else time_argument(text)


def _recover(args: argparse.Namespace) -> int:
    try:
        urls = setting("LATCHKEY_POSTGRES_URL"), setting("LATCHKEY_AMQP_URL")
        recovered = asyncio.run(recover(*urls, realm=args.realm, start=args.start, tell=complain))
    except _FAILURES as error:
        complain(f"not recovered: {_said(error)}")
        return _NOT_DONE
    for line in (*_done(recovered), *(left_out := _left_out(recovered))):
        print(line)
    return 1 if left_out else 0


def _done(recovered: Recovered) -> list[str]:
    posted, changed = recovered.posted, recovered.changed
    since = "the first" if recovered.since == EPOCH else recovered.since.isoformat()
    return [
        f"read {recovered.messages} messages of usage and money, from {since} on",
        f"added {recovered.attempts} attempts, {posted.usage} usage events, {posted.transfers} transfers",
        f"rated {recovered.rated.usage} usage events of which no charge was told",
        f"destroyed {changed.destroyed} keys that were revoked or replaced, switched {changed.switched}",
        f"changed {changed.consents} users' consent",
        f"dropped {recovered.dropped} runs that waited for a worker",
    ]


def _left_out(recovered: Recovered) -> list[str]:
    refused = (f"usage {usage_id} cannot be recorded" for usage_id in recovered.rated.refused)
    return [*refused, *map(_who, recovered.posted.left_out)]


def _who(left_out: LeftOut) -> str:
    user, micros = ascii(left_out.user_id), left_out.micros
    if left_out.is_debt:
        return f"left out {user}, who paid back {micros} credit micros more than are told to have been owed"
    return f"left out {user}, who spent {micros} credit micros more than are told to have been given"


def _said(error: Exception) -> str:
    return str(getattr(error, "message", None) or error or repr(error)).replace("\n", " ")
