"""`latchkey dead-letters`: what services refused, to see, to put back or to throw away."""

import argparse
import asyncio
from contextlib import aclosing
from typing import Any, Final

import orjson

from infra.dead_letters import DeadLetter, Fate, is_taken_back, settle
from infra.stack_settings import UsageError, setting
from shared.contracts.topology import WORK_QUEUES

_ABOUT: Final = "show what services refused or failed at; put it back, or throw it away"
_SAID: Final = {Fate.WAIT: "waiting", Fate.REQUEUE: "put back", Fate.DISCARD: "thrown away"}


def add_to(commands: Any) -> None:
    parser = commands.add_parser("dead-letters", help=_ABOUT, description=_ABOUT)
    parser.add_argument("queue", nargs="?", choices=WORK_QUEUES, help="only those of this one")
    fate = parser.add_mutually_exclusive_group()
    fate.add_argument(
        "--requeue",
        action="store_const",
        dest="fate",
        const=Fate.REQUEUE,
        help="put them back; of one queue",
    )
    fate.add_argument(
        "--discard",
        action="store_const",
        dest="fate",
        const=Fate.DISCARD,
        help="throw them away; of one queue",
    )
    parser.add_argument("--id", action="append", default=[], help="only this one; can be given many times")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: a line for each")
    parser.set_defaults(run=_run, fate=Fate.WAIT)


def _run(args: argparse.Namespace) -> int:
    if args.fate is not Fate.WAIT and args.queue is None:
        raise UsageError(f"say of which queue: {', '.join(WORK_QUEUES)}")
    if args.fate is Fate.REQUEUE:
        _check_way_back(args.queue)
    count = asyncio.run(_settle_and_tell(args))
    if args.format == "text":
        print(f"{count} {_SAID[args.fate]}")
    return 1 if set(args.id) and count < len(set(args.id)) else 0


def _check_way_back(queue: str) -> None:
    """Raise UsageError where the broker would throw away what is to be put back."""
    if not is_taken_back(setting("RABBITMQ_MANAGEMENT_URL"), setting("LATCHKEY_AMQP_URL"), queue):
        raise UsageError(
            f"the broker has no policy that takes dead letters back to {queue}, or another goes before it: "
            "they would be lost; the bootstrap (`make up`) sets it"
        )


async def _settle_and_tell(args: argparse.Namespace) -> int:
    """Return how many."""
    count, url = 0, setting("LATCHKEY_AMQP_URL")
    for queue in [args.queue] if args.queue else WORK_QUEUES:
        async with aclosing(settle(url, queue, args.fate, args.id)) as letters:
            async for letter in letters:
                count += 1
                print(_line(letter) if args.format == "text" else orjson.dumps(letter).decode(), flush=True)
    return count


def _line(letter: DeadLetter) -> str:
    died = letter.died_at.isoformat(timespec="seconds") if letter.died_at else None
    told = (letter.queue, died, letter.reason, letter.routing_key, letter.sender, letter.id)
    return "  ".join(_printable(word) for word in told)


def _printable(word: str | None) -> str:
    """Whoever published it chose these words: no line and no terminal's order comes of them."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in word or "-")
