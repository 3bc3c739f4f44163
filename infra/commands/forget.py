"""`latchkey forget`: a user who wants to be forgotten."""

import argparse
import asyncio
import time
from typing import Any, Final

from infra.commands.keys import revoke_keys
from infra.edge import edge
from infra.forgetting import forget_tokens, forget_user
from infra.stack_settings import setting

_TOKENS_REMEMBERED_S: Final = 6.0
"""Longer than edges go on with a token that they know."""


def add_to(commands: Any) -> None:
    forget = commands.add_parser("forget", help="destroy a user's tokens, keys, choices, runs and answers")
    forget.add_argument("--user", required=True)
    forget.set_defaults(run=_forget)


def _forget(args: argparse.Namespace) -> int:
    """Access first, so that nothing new comes; with the edge or key_vault away, nothing else is forgotten."""
    url = setting("LATCHKEY_POSTGRES_URL")
    if tokens := asyncio.run(forget_tokens(url, args.user)):
        print(f"forgot {tokens} API tokens", flush=True)
        time.sleep(_TOKENS_REMEMBERED_S)
    with edge(args.realm) as api:
        revoke_keys(api, args.user, None)
    for what, count in asyncio.run(forget_user(url, args.user)).items():
        print(f"forgot {count} {what}")
    return 0
