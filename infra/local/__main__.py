"""`python -m infra.local`: the native stack's commands, as `make` calls them."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from infra.bootstrap import BootstrapError
from infra.local.console import complain
from infra.local.errors import StackError
from infra.local.home import Home
from infra.local.stack import PartStatus, Stack

_LOG_LINES = "200"


def _up(stack: Stack, args: argparse.Namespace) -> int:
    stack.up(os.environ, servers_only=args.servers_only, inference=args.inference, simulator=args.simulator)
    return 0


def _down(stack: Stack, _args: argparse.Namespace) -> int:
    stack.down()
    print("stopped")
    return 0


def _restart(stack: Stack, args: argparse.Namespace) -> int:
    stack.restart(args.part)
    return 0


def _stop(stack: Stack, args: argparse.Namespace) -> int:
    stack.stop(args.part)
    return 0


def _status(stack: Stack, _args: argparse.Namespace) -> int:
    """Return 0 when all parts run, 1 when one does not, 3 when the stack is down."""
    parts = stack.status()
    if not parts:
        print("the stack is down")
        return 3
    print(_table(parts))
    return 0 if all(part.process.is_running for part in parts) else 1


def _table(parts: list[PartStatus]) -> str:
    rows = [
        f"{part.process.name:<14}{part.process.state.lower():<10}{part.process.pid or '':>8}"
        f"{part.process.up_s:>8} s{part.rss_mb:>8.0f} MB"
        for part in parts
    ]
    total = sum(part.rss_mb for part in parts)
    head = f"{'part':<14}{'state':<10}{'pid':>8}{'up':>10}{'memory':>11}"
    return "\n".join((head, *rows, f"{'in all':<42}{total:>8.0f} MB"))


def _logs(stack: Stack, args: argparse.Namespace) -> int:
    """Show the last lines, and go on showing new ones when somebody watches."""
    folder: Path = stack.home / "logs"
    files = sorted(folder.glob(f"{args.part}*.log" if args.part else "*.log"))
    if not files:
        raise StackError(f"no log of {args.part or 'any part'} in {folder}")
    follow = ["-F"] if sys.stdout.isatty() else []
    os.execvp("tail", ["tail", "-n", _LOG_LINES, *follow, *map(str, files)])  # noqa: S606


_COMMANDS: dict[str, Callable[[Stack, argparse.Namespace], int]] = {
    "up": _up,
    "down": _down,
    "restart": _restart,
    "stop": _stop,
    "status": _status,
    "logs": _logs,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what does not run")
    up.add_argument("--servers-only", action="store_true", help="no services")
    up.add_argument("--inference", type=_one_or_more, metavar="N", help="number of inference workers")
    up.add_argument("--simulator", action=argparse.BooleanOptionalAction, help="providers are simulated")
    commands.add_parser("down", help="stop everything")
    commands.add_parser("status", help="what runs, and how big it is")
    commands.add_parser("restart", help="restart one part").add_argument("part")
    commands.add_parser("stop", help="stop one part, until it is restarted").add_argument("part")
    commands.add_parser("logs", help="show logs").add_argument("part", nargs="?")
    return parser


def _one_or_more(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers: 1 or more")
    return int(text)


def main() -> int:
    args = _parser().parse_args()
    try:
        return _COMMANDS[args.command](Stack(Home.of(os.environ).path), args)
    except (StackError, BootstrapError) as error:
        complain(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
