"""What the story runs on: a stack that runs with the simulator, else one of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.demo.platform_key import SIMULATED_KEY
from infra.demo.telling import Narrator
from infra.local.home import Home
from infra.local.stack import Stack

_SIMULATOR = "LATCHKEY_SIMULATOR_URL"


@contextmanager
def running_stack(home: Home, narrator: Narrator) -> Iterator[Path]:
    """Yield the env file of a stack with the simulator.

    A stack found running is left as it is. One that had to be started lives in `<home>/demo`, so that
    nobody's keys or ledger are touched, and is stopped at the end. Raises StackError when it does not start.
    """
    found = Stack(home.path)
    if found.is_running and _SIMULATOR in found.env():
        narrator.headline(f"A stack with the simulator runs in {home.path}: it is used, and left running.")
        yield found.home.dev_env
        return
    if found.is_running:
        narrator.headline(f"The stack in {home.path} calls real providers: it is left alone.")
    with _own_stack(home / "demo", narrator) as env_file:
        yield env_file


@contextmanager
def _own_stack(path: Path, narrator: Narrator) -> Iterator[Path]:
    narrator.headline(f"Starting the demo's own stack in {path}; it is stopped at the end.")
    stack = Stack(path)
    try:
        stack.up({"OPENAI_API_KEY": SIMULATED_KEY}, simulator=True)
        yield stack.home.dev_env
    finally:
        stack.down()
        narrator.headline(f"The demo's own stack is stopped; its logs stay in {stack.home / 'logs'}.")
