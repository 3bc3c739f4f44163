"""The native stack as its users run it, in a home of its own."""

import asyncio
import os
import signal
import time
from collections.abc import Callable

import pytest

from infra.local.errors import StackError
from infra.local.home import Home
from infra.local.processes import processes
from infra.local.stack import Stack
from tests.native import native_home

pytestmark = pytest.mark.integration

_PARTS = {"epmd", "rabbitmq", "vault", "unseal", "postgres"}


async def _eventually(holds: Callable[[], bool], within_s: float = 40) -> None:
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


def _pids(home: Home) -> dict[str, str]:
    return {part: home.pid_file(part).read_text().strip() for part in _PARTS}


def _servers_of(stack: Stack) -> dict[str, str]:
    """Where its servers are. No edge runs here, so another stack may take its port meanwhile."""
    return {name: value for name, value in stack.env().items() if name != "LATCHKEY_URL"}


def _alive(stack: Stack) -> set[str]:
    return {part.process.name for part in stack.status() if part.process.pid}


async def _kill_supervisor(stack: Stack) -> None:
    os.kill(int((stack.home / "run/supervisord.pid").read_text()), signal.SIGKILL)
    await _eventually(lambda: not stack.is_running)
    assert processes(stack.home)


@pytest.mark.timeout(300)
async def test_a_stack_starts_heals_and_leaves_nothing() -> None:
    async with native_home() as home:
        stack = Stack(home.path, lambda _line: None)
        first = _pids(home)
        env = _servers_of(stack)
        assert home.dev_env.stat().st_mode & 0o777 == 0o600

        await asyncio.to_thread(stack.up, {}, servers_only=True)
        assert (_pids(home), _servers_of(stack)) == (first, env)

        for part in ("vault", "postgres", "rabbitmq"):
            os.kill(int(first[part]), signal.SIGKILL)
        await _eventually(
            lambda: all(first[part] != _pids(home)[part] for part in ("vault", "postgres", "rabbitmq"))
        )
        await asyncio.to_thread(stack.up, {}, servers_only=True)
        assert _servers_of(stack) == env
        assert _alive(stack) == _PARTS

        await asyncio.to_thread(stack.stop, "vault")
        assert _alive(stack) == _PARTS - {"vault"}
        await asyncio.to_thread(stack.restart, "vault")
        assert _alive(stack) == _PARTS
        with pytest.raises(StackError, match="no part is called vaults"):
            stack.restart("vaults")

        await _kill_supervisor(stack)
        await asyncio.to_thread(stack.up, {}, servers_only=True)
        assert _servers_of(stack) == env, "a stack keeps its ports, although what crashed still held them"

        await _kill_supervisor(stack)
        await asyncio.to_thread(stack.down)
        assert processes(home) == []
