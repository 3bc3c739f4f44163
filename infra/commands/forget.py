"""`latchkey forget`: a user who wants to be forgotten."""

import argparse
import asyncio
from typing import Any

from infra.commands.edge import edge
from infra.commands.keys import revoke_keys
from infra.commands.settings import setting
from infra.forgetting import forget_user


def add_to(commands: Any) -> None:
    forget = commands.add_parser("forget", help="destroy a user's keys, tokens, choices, runs and answers")
    forget.add_argument("--user", required=True)
    forget.set_defaults(run=_forget)


def _forget(args: argparse.Namespace) -> int:
    """Keys first: with the edge or key_vault away, nothing is forgotten yet."""
    with edge(args.realm) as api:
        revoke_keys(api, args.user, None)
    forgotten = asyncio.run(forget_user(setting("LATCHKEY_POSTGRES_URL"), args.user))
    for what, count in forgotten.items():
        print(f"forgot {count} {what}")
    return 0
