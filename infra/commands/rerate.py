"""`latchkey ledger rerate`: a period against other prices."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infra.bootstrap.postgres import connect
from infra.commands.times import time_argument
from infra.edge import edge
from infra.rating.corrections import Correction, check_first, check_posting, corrections, post
from infra.rating.prices import PriceFile, Rates, rates, read_price_file
from infra.rating.rerate import Period, Rerated, rerate
from infra.rating.tables import as_ndjson, as_text, signed_credits
from infra.stack_settings import UsageError, setting

_ABOUT: Final = """
Rates all usage of a period on the platform's keys again, from the tokens as they were recorded, and prints by
model and by user what was charged, what it comes to now, and the difference. Changes nothing, unless told to
--post: then each user's difference becomes one adjustment, which is made once, however often it is asked for.
"""


def add_to(ledger: Any) -> None:
    rating = ledger.add_parser("rerate", help="rate a period against other prices", description=_ABOUT)
    rating.add_argument(
        "--from", dest="since", type=time_argument, required=True, metavar="T", help="RFC 3339"
    )
    rating.add_argument(
        "--to", dest="until", type=time_argument, required=True, metavar="T", help="not included"
    )
    rating.add_argument(
        "--prices",
        type=Path,
        metavar="FILE",
        help='over these: {"prices": {"openai/gpt-4o": {"input_usd": "2", …}}, "credit_usd"?, "markup"?}',
    )
    rating.add_argument(
        "--at",
        choices=["now", "started"],
        default="now",
        help="today's prices, or those that hold, as known today, for the time of each attempt",
    )
    rating.add_argument("--user", help="this user's only")
    rating.add_argument("--model", help="this model's only (provider/model)")
    rating.add_argument("--format", choices=["text", "ndjson"], default="text")
    rating.add_argument("--post", metavar="NAME", help="make the differences adjustments of this name")
    rating.set_defaults(run=_rerate)


def _rerate(args: argparse.Namespace) -> int:
    period = Period(args.since, args.until, args.user, args.model)
    if period.since >= period.until:
        raise UsageError("--from comes before --to")
    if args.post is not None:
        check_posting(args.post, period)
    file = read_price_file(args.prices) if args.prices else PriceFile()
    at = datetime.now(UTC) if args.at == "now" else None
    rerated, used, wanted = asyncio.run(_rated(period, file, at, args.post))
    is_text = args.format == "text"
    if is_text:
        tariff = used.tariff
        print(f"{period}, a credit at {tariff.credit_usd:f} US$, markup {tariff.markup:f}\n")
    for line in as_text(rerated) if is_text else as_ndjson(rerated):
        print(line)
    if wanted:
        _post(args.realm, wanted, args.post)
    return 0


async def _rated(
    period: Period, file: PriceFile, at: datetime | None, name: str | None
) -> tuple[Rerated, Rates, list[Correction]]:
    async with connect(setting("LATCHKEY_POSTGRES_URL")) as database:
        used = await rates(database, file, at)
        rerated = await rerate(database, period, used)
        wanted = [] if name is None else corrections(rerated, name, period)
        if name is not None:
            wanted = await check_first(database, wanted, name, period)
        return rerated, used, wanted


def _post(realm: str, wanted: list[Correction], name: str) -> None:
    with edge(realm) as api:
        for correction in post(api, wanted):
            before = " (posted before)" if correction.is_posted else ""
            amount = signed_credits(correction.amount_micros)
            print(f"{name}: {correction.user_id} {amount}{before}", file=sys.stderr)
