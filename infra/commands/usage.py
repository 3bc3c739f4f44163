"""`latchkey usage`: the usage stream as JSON lines."""

import argparse
import asyncio
from datetime import UTC, datetime
from typing import Any

from infra.commands.settings import setting
from infra.usage import events


def add_to(commands: Any) -> None:
    usage = commands.add_parser("usage", help="print usage events from the stream as JSON lines")
    usage.add_argument(
        "--offset", type=_offset, default="first", help="first, last, next, a number or a time"
    )
    usage.add_argument("--follow", action="store_true", help="go on with new ones")
    usage.set_defaults(run=_usage)


def _usage(args: argparse.Namespace) -> int:
    asyncio.run(_print_events(args.offset, follow=args.follow))
    return 0


async def _print_events(offset: str | int | datetime, *, follow: bool) -> None:
    async for line in events(setting("LATCHKEY_ANALYST_AMQP_URL"), offset, follow=follow):
        print(line, flush=follow)


def _offset(text: str) -> str | int | datetime:
    if text in {"first", "last", "next"}:
        return text
    if text.isdecimal():
        return int(text)
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
