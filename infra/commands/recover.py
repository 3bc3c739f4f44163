"""`latchkey recover`: a restored database, brought up to the streams."""

import argparse
import asyncio
import sys
from datetime import datetime
from typing import Any, Final

from infra.commands.settings import UsageError, setting
from infra.commands.times import time_argument
from infra.recovery.recover import Recovered, RecoveryError, recover
from infra.usage_stream import FIRST, UsageStream
from shared.contracts.topology import KEYS_AUDIT

_ABOUT: Final = """
Adds to a database that was restored from a backup what it missed: attempts, charges, grants and adjustments
from the usage stream, revoked and replaced keys and consents from the audit stream. Charges what was used and
not charged, also when RabbitMQ's data was lost. The services have to be stopped. May be repeated.
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
        help="`first`, or RFC 3339 (default: an hour before what the database knew last)",
    )
    parser.set_defaults(run=_recover)


def _start(text: str) -> datetime | str:
    return FIRST if text == FIRST else time_argument(text)


def _recover(args: argparse.Namespace) -> int:
    try:
        recovered = asyncio.run(_recovered(args.realm, args.start))
    except RecoveryError as error:
        raise UsageError(str(error)) from None
    for line in _lines(recovered):
        print(line)
    return 1 if recovered.refused else 0


async def _recovered(realm: str, start: datetime | str | None) -> Recovered:
    usage = UsageStream(setting("LATCHKEY_ANALYST_AMQP_URL"), _tell)
    audit = UsageStream(setting("LATCHKEY_AMQP_URL"), _tell, name=KEYS_AUDIT)
    return await recover(setting("LATCHKEY_POSTGRES_URL"), usage, audit, realm=realm, start=start, tell=_tell)


def _lines(recovered: Recovered) -> list[str]:
    added, changed = recovered.added, recovered.changed
    since = recovered.since.isoformat(timespec="seconds") if recovered.since else "the streams' start"
    refused = [f"usage {usage_id} cannot be recorded" for usage_id in recovered.refused]
    return [
        f"read {recovered.messages} messages, from {since} on",
        f"added {added.attempts} attempts, {added.usage} usage events, {added.transfers} transfers",
        f"rated {recovered.rated} usage events of which no charge was told",
        f"destroyed {changed.destroyed} keys that were revoked or replaced, switched {changed.switched}",
        f"changed {changed.consents} users' consent",
        *refused,
    ]


def _tell(line: str) -> None:
    print(f"latchkey: {line}", file=sys.stderr)
