"""`latchkey`: tokens, keys, the usage stream, the ledger and dead letters, for the people who run it."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable

import asyncpg

from infra.bootstrap import BootstrapError
from infra.commands import call, dead_letters, forget, keys, ledger, recover, token, usage
from infra.local.console import complain
from infra.stack_settings import UsageError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="latchkey", description=__doc__)
    parser.add_argument("--realm", default=os.environ.get("LATCHKEY_REALM", "latchkey"))
    commands = parser.add_subparsers(required=True)
    for subject in (token, keys, forget, call, usage, ledger, recover, dead_letters):
        subject.add_to(commands)
    return parser


def main() -> int:
    logging.basicConfig(handlers=[logging.NullHandler()])  # what libraries log, the errors below say
    args = _parser().parse_args()
    run: Callable[[argparse.Namespace], int] = args.run
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        try:
            return run(args)
        except ConnectionRefusedError as error:
            complain(f"{error}; is the stack up? `make up` starts it")
            return 1
        except (UsageError, BootstrapError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            complain(str(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
