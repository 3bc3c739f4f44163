"""`latchkey usage`: the usage stream followed, exported and summed up, with the analyst's own rights."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from infra.analytics.checking import Checker
from infra.analytics.export import export
from infra.analytics.summary import BY, summarize
from infra.analytics.tables import as_json, as_text
from infra.analytics.tail import tail
from infra.analytics.window import Window
from infra.analytics.writers import FORMATS, MissingLibraryError
from infra.commands.times import time_argument
from infra.event_stream import FIRST, NEXT, EventStream, Start
from infra.local.console import complain
from infra.stack_settings import UsageError, setting

_BAD_ARGUMENTS: Final = 2
_INTERRUPTED: Final = 130
_CODES: Final = """
Reads with LATCHKEY_ANALYST_AMQP_URL alone. A TIME is RFC 3339 (2026-08-01T12:00:00Z; a date is its midnight,
UTC where no zone is given). What no service of the realm has published is left out, and told on stderr by
offset.
Exit code: 0 done; 1 the stream cannot be read, or the file not written; 2 bad arguments; 130 interrupted.
"""


def add_to(commands: Any) -> None:
    usage = commands.add_parser("usage", help="read the usage stream: tail, export, summary", epilog=_CODES)
    kinds = usage.add_subparsers(required=True)
    _add_tail(kinds)
    _add_export(kinds)
    _add_summary(kinds)


def _add_tail(kinds: Any) -> None:
    about = "print events as JSON lines, and go on with new ones"
    parser = kinds.add_parser("tail", help=about, description=about, epilog=_CODES)
    parser.add_argument(
        *("--from",), dest="start", type=_start, default=NEXT, metavar="FROM",
        help="first, next (the default), an OFFSET or a TIME",
    )  # fmt: skip
    parser.add_argument("--no-follow", action="store_true", help="end with what is there now")
    parser.set_defaults(run=_carefully(_tail))


def _add_export(kinds: Any) -> None:
    about = "write events to a file, one row each; docs/analytics.md explains the columns"
    parser = kinds.add_parser("export", help=about, description=about, epilog=_CODES)
    _add_window(parser)
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument(
        *("--out",), type=_file, required=True, metavar="FILE", help="is there once it is whole; replaced"
    )
    parser.set_defaults(run=_carefully(_export))


def _add_summary(kinds: Any) -> None:
    about = "sum up runs, attempts, tokens, BYOK share, cost and charges"
    parser = kinds.add_parser("summary", help=about, description=about, epilog=_CODES)
    _add_window(parser)
    parser.add_argument(
        "--by", type=_by, default=(), metavar="BY", help=f"one or several, with commas, of {', '.join(BY)}"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.set_defaults(run=_carefully(_summary))


def _add_window(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        *("--from",), dest="start", type=_begin, default=FIRST, metavar="FROM",
        help="events from this TIME or OFFSET on, or first (the default)",
    )  # fmt: skip
    parser.add_argument(
        "--to",
        dest="end",
        type=time_argument,
        metavar="TIME",
        help="events before it; default: all that are there",
    )


def _carefully(
    work: Callable[[argparse.Namespace], Coroutine[Any, Any, None]],
) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        if _is_reversed(args):
            _tell("--from is not before --to")
            return _BAD_ARGUMENTS
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            asyncio.run(work(args))
        except KeyboardInterrupt:
            return _INTERRUPTED
        except BrokenPipeError:
            # Whoever read has enough; nor can what is still buffered be written.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except MissingLibraryError as error:
            raise UsageError(str(error)) from None
        return 0

    return run


async def _tail(args: argparse.Namespace) -> None:
    checker = Checker(args.realm, _tell)
    await tail(_stream(), Window(args.start), checker, sys.stdout.buffer, follow=not args.no_follow)


async def _export(args: argparse.Namespace) -> None:
    checker = Checker(args.realm, _tell)
    done = await export(_stream(), _window(args), args.format, args.out, checker, tell=_tell)
    _tell(f"{args.out}: {done.rows} events, {done.repeats} repeats dropped, {done.left_out} left out")


async def _summary(args: argparse.Namespace) -> None:
    checker = Checker(args.realm, _tell)
    summary = await summarize(_stream(), _window(args), args.by, checker, tell=_tell)
    print(as_json(summary) if args.format == "json" else as_text(summary))


def _stream() -> EventStream:
    return EventStream(setting("LATCHKEY_ANALYST_AMQP_URL"), _tell)


def _window(args: argparse.Namespace) -> Window:
    return Window(args.start, args.end)


def _is_reversed(args: argparse.Namespace) -> bool:
    end: datetime | None = getattr(args, "end", None)
    return end is not None and isinstance(args.start, datetime) and args.start >= end


def _tell(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        complain(line)


def _file(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def _start(text: str) -> Start:
    return text if text == NEXT else _begin(text)


def _begin(text: str) -> Start:
    if text == FIRST:
        return text
    return _offset(text) if text.isdecimal() else time_argument(text)


def _offset(text: str) -> int:
    if int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text} is beyond all offsets")
    return int(text)


def _by(text: str) -> tuple[str, ...]:
    by = tuple(text.split(","))
    if unknown := [name for name in by if name not in BY]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(BY)}")
    return tuple(dict.fromkeys(by))
