"""`latchkey`: tokens, the usage stream and the ledger, for the people who run it."""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import asyncpg

from infra.bootstrap import Realm, mint_token
from infra.bootstrap.envfiles import read_env
from infra.bootstrap.postgres import connect
from infra.bootstrap.tokens import mint_jwt
from infra.local.home import Home
from infra.usage import events
from shared.kernel.names import Role

_FAULTS = "SELECT fault, subject, kept_micros, rebuilt_micros FROM billing.ledger_faults"
_SIZE = """
SELECT (SELECT count(*) FROM billing.accounts) AS accounts,
       (SELECT count(*) FROM billing.transfers) AS transfers
"""


class UsageError(Exception):
    """The command cannot be carried out as given."""


def _setting(name: str) -> str:
    """Return a setting from the environment, else from the stack's `dev.env`."""
    home = Home.of(os.environ)
    value = os.environ.get(name) or read_env(home.dev_env).get(name)
    if not value:
        raise UsageError(f"{name} is neither set nor in {home.dev_env}; `make up` writes it")
    return value


def _token(args: argparse.Namespace) -> int:
    realm = Realm(args.realm)
    if args.jwt:
        secret = read_env(Home.of(os.environ).env_files / "api_edge.env").get("LATCHKEY_AUTH__JWT_SECRET")
        if not secret:
            raise UsageError("there is no development JWT secret here; `make up` makes one")
        print(mint_jwt(secret, realm, args.user, args.role))
    else:
        print(
            mint_token(_setting("LATCHKEY_POSTGRES_URL"), realm, args.user, args.role, label="latchkey token")
        )
    return 0


def _usage(args: argparse.Namespace) -> int:
    asyncio.run(_print_events(args.offset, follow=args.follow))
    return 0


async def _print_events(offset: str | int | datetime, *, follow: bool) -> None:
    async for line in events(_setting("LATCHKEY_ANALYST_AMQP_URL"), offset, follow=follow):
        print(line, flush=follow)


def _ledger(_args: argparse.Namespace) -> int:
    """Return 0 when every balance is what its transfers and holds say, 1 otherwise."""
    faults, size = asyncio.run(_verify(_setting("LATCHKEY_POSTGRES_URL")))
    for fault in faults:
        kept, rebuilt = fault["kept_micros"], fault["rebuilt_micros"]
        print(f"{fault['fault']} ({fault['subject']}): kept {kept}, rebuilt {rebuilt} credit micros")
    verdict = f"{len(faults)} faults" if faults else "it adds up"
    print(f"{size['accounts']} accounts, {size['transfers']} transfers: {verdict}")
    return 1 if faults else 0


async def _verify(url: str) -> tuple[list[asyncpg.Record], asyncpg.Record]:
    async with connect(url) as database, database.transaction(isolation="repeatable_read", readonly=True):
        return await database.fetch(_FAULTS), (await database.fetch(_SIZE))[0]


def _offset(text: str) -> str | int | datetime:
    if text in {"first", "last", "next"}:
        return text
    if text.isdecimal():
        return int(text)
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="latchkey", description=__doc__)
    parser.add_argument("--realm", default=os.environ.get("LATCHKEY_REALM", "latchkey"))
    commands = parser.add_subparsers(required=True)
    token = commands.add_parser("token", help="mint an API token (or a JWT) for the edge")
    token.add_argument("--user", required=True)
    token.add_argument("--role", choices=[str(role) for role in Role], default=str(Role.USER))
    token.add_argument("--jwt", action="store_true", help="a development JWT, valid for an hour")
    token.set_defaults(run=_token)
    usage = commands.add_parser("usage", help="print usage events from the stream as JSON lines")
    usage.add_argument(
        "--offset", type=_offset, default="first", help="first, last, next, a number or a time"
    )
    usage.add_argument("--follow", action="store_true", help="go on with new ones")
    usage.set_defaults(run=_usage)
    ledger = commands.add_parser("ledger", help="check the ledger")
    ledger.add_argument("what", choices=["verify"], help="rebuild all balances and compare")
    ledger.set_defaults(run=_ledger)
    return parser


def main() -> int:
    args = _parser().parse_args()
    run: Callable[[argparse.Namespace], int] = args.run
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        try:
            return run(args)
        except ConnectionRefusedError as error:
            print(f"latchkey: {error}; is the stack up? `make up` starts it", file=sys.stderr)
            return 1
        except (UsageError, OSError, asyncpg.PostgresError) as error:
            print(f"latchkey: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
