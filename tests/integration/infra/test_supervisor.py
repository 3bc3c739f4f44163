"""supervisord itself, with a part that only sleeps."""

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from xmlrpc.client import dumps

import pytest
from supervisor.xmlrpc import UnixStreamHTTPConnection  # type: ignore[import-untyped]

from infra.local.home import Home
from infra.local.parts import Part
from infra.local.supervisor import Supervisor
from tests.bench.cpu import cpu_ms
from tests.waiting import until

pytestmark = pytest.mark.integration

_SLEEPER = "sleeper"
_WATCHED_S, _AT_REST_MS = 1.0, 100


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    """Of a supervisord whose only part was stopped."""
    home = Home(tmp_path)
    home.make()
    supervisor = Supervisor(home)
    supervisor.start([Part(_SLEEPER, ("sleep", "60")).write_launcher(home)])
    await until(home.pid_file(_SLEEPER).exists)  # a signal before that could be lost
    supervisor.stop([_SLEEPER])
    yield home
    supervisor.stop([_SLEEPER])
    supervisor.shutdown([_SLEEPER])


def test_it_is_at_rest_although_clients_left_as_a_part_started(home: Home) -> None:
    """The first leaves its number to the part's end of its stdin, the second to the end that is kept."""
    pid = int((home / "run/supervisord.pid").read_text())
    first, second, third, fourth = [_connected(home) for _ in range(4)]
    fourth.close()  # it only let supervisord be done with the third's first question
    with _frozen(pid):
        first.close()
        second.close()
        _ask(third, "startProcess", _SLEEPER)
    third.getresponse().read()
    third.close()
    before = cpu_ms(pid)
    time.sleep(_WATCHED_S)
    assert cpu_ms(pid) - before < _AT_REST_MS


@contextmanager
def _frozen(pid: int) -> Iterator[None]:
    """Whatever happens meanwhile, it will see at once."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _connected(home: Home) -> UnixStreamHTTPConnection:
    """A connection that was accepted, and stays open."""
    connection = UnixStreamHTTPConnection("localhost")
    connection.socketfile = str(home.socket)
    _ask(connection, "getState")
    connection.getresponse().read()
    return connection


def _ask(connection: UnixStreamHTTPConnection, method: str, *arguments: str) -> None:
    body = dumps(arguments, f"supervisor.{method}")
    connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
