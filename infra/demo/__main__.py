"""`python -m infra.demo`: tell the story; the exit code is 0 only if it holds."""

import argparse
import asyncio
import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import aio_pika
import asyncpg
import httpx2
import openai

from infra.bootstrap import BootstrapError
from infra.demo.checks import StoryError
from infra.demo.environment import Environment
from infra.demo.plot import tell
from infra.demo.stack import running_stack
from infra.demo.telling import Narrator
from infra.local.errors import StackError
from infra.local.home import Home

_UNHAPPY = (
    *(StoryError, OSError, TimeoutError),
    *(httpx2.HTTPError, openai.APIError, asyncpg.PostgresError, aio_pika.exceptions.AMQPError),
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.demo", description=__doc__)
    parser.add_argument("--env-file", type=Path, help="the stack to use (default: <home>/dev.env)")
    parser.add_argument("--no-stack", action="store_true", help="only the story; start and stop nothing")
    return parser.parse_args()


def _env_file(arguments: argparse.Namespace, narrator: Narrator) -> AbstractContextManager[Path]:
    home = Home.of(os.environ)
    if arguments.no_stack or arguments.env_file:
        return nullcontext(arguments.env_file or home.dev_env)
    return running_stack(home, narrator)


def main() -> int:
    arguments, narrator = _arguments(), Narrator()
    # A terminated demo still stops the stack it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with _env_file(arguments, narrator) as env_file:
            asyncio.run(tell(Environment.read(env_file), narrator))
    except (StackError, BootstrapError) as error:
        narrator.headline(f"There is no stack to tell the story on: {error}")
        return 1
    except _UNHAPPY as error:
        narrator.headline(f"The story does not hold: {str(error) or repr(error)}")
        return 1
    except KeyboardInterrupt:
        narrator.headline("Interrupted.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
