"""The native stack as its users run it, in a home of its own."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from infra.event_stream import EventStream
from infra.local.errors import StackError
from infra.local.home import Home
from infra.local.ports import ports
from infra.local.processes import processes
from infra.local.servers import servers
from infra.local.stack import Stack
from tests.integration.infra.usage_over_a_kill import AFTER, BEFORE, tail_over_a_kill
from tests.native import native_home
from tests.realm import temporary_realm

pytestmark = pytest.mark.integration

_PARTS = {"epmd", "rabbitmq", "vault", "unseal", "postgres"}


async def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
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


@pytest_asyncio.fixture(scope="module")
async def home() -> AsyncIterator[Home]:
    async with native_home() as home:
        yield home


@pytest.mark.timeout(180)
async def test_of_a_stream_tailed_while_its_broker_is_killed_nothing_is_missed_or_repeated(
    home: Home, tmp_path: Path
) -> None:
    async with temporary_realm(servers(home, ports(home, running=True)), tmp_path) as realm:
        told, tailed = await tail_over_a_kill(home, realm)
        stream = EventStream(realm.admin["LATCHKEY_ANALYST_AMQP_URL"])
        kept = [entry async for batch in stream.read("first", await stream.end()) for entry in batch]
    assert [entry.offset for entry in tailed] == [entry.offset for entry in kept[: len(tailed)]]
    assert [entry.offset for entry in kept] == list(range(len(kept)))
    assert max(int(entry.body) for entry in tailed) >= BEFORE + AFTER - 1
    assert any("lost the broker" in line for line in told)
    assert any("is back" in line for line in told)


@pytest.mark.timeout(300)
async def test_a_stack_starts_heals_and_leaves_nothing(home: Home) -> None:
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
