"""supervisord, the process manager: its configuration and its XML-RPC over a private socket."""

import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from infra.bootstrap.envfiles import write_private
from infra.local.errors import StackError
from infra.local.home import CHECKOUT, Home
from infra.local.parts import MARKER
from infra.local.processes import processes

SUPERVISOR = "supervisord"
_START_S, _STOP_S, _POLL_S = 10, 60, 0.05
_OURS = ("LATCHKEY_", "RABBITMQ_", "ERL_", "VAULT_", "BAO_", "PG", "SUPERVISOR_")
_KEYS = ("_API_KEY", "_API_KEYS")
_CONFIG = """\
[supervisord]
logfile={home}/logs/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile={home}/run/supervisord.pid
childlogdir={home}/logs
umask=077
{user}
[unix_http_server]
file={socket}
chmod=0600
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{socket}
"""


@dataclass(frozen=True)
class ProcessState:
    """What supervisord says of one part. `up_s` in seconds."""

    name: str
    state: str
    pid: int
    up_s: int

    @property
    def is_running(self) -> bool:
        return self.state == "RUNNING"

    @property
    def has_ended(self) -> bool:
        """Tell whether it is not running and will not start by itself."""
        return self.state in {"STOPPED", "EXITED", "FATAL"}


class Supervisor:
    """The process manager of one home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._config = home / "conf/supervisord.conf"

    def is_running(self) -> bool:
        try:
            self._rpc("getState")
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def start(self, entries: Iterable[str]) -> None:
        """Start supervisord with these parts; it goes on after this process ends."""
        self._write(entries)
        env = {name: value for name, value in os.environ.items() if _may_inherit(name)}
        env[MARKER] = f"{SUPERVISOR}@{self._home.path}"
        command = [sys.executable, "-m", "infra.local.daemon", "-c", str(self._config)]
        done = subprocess.run(command, env=env, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(f"supervisord does not start: {done.stderr.strip() or done.stdout.strip()}")
        _until(self.is_running, _START_S, "supervisord does not answer")

    def apply(self, entries: Iterable[str], *, only: Callable[[str], bool]) -> list[str]:
        """Make the parts that `only` names like their entries: new, changed and gone ones, and no others.

        Return those that were started.
        """
        self._write(entries)
        added, changed, removed = (
            [name for name in names if only(name)] for names in self._rpc("reloadConfig")[0]
        )
        self.stop([*changed, *removed])
        for name in (*changed, *removed):
            self._rpc("removeProcessGroup", name)
            self._home.pid_file(name).unlink(missing_ok=True)
        for name in (*added, *changed):
            self._rpc("addProcessGroup", name)
        return sorted({*added, *changed, *self._revive(only)})

    def stop(self, names: Iterable[str]) -> None:
        """Stop parts, all at once, and wait for the last."""
        alive = {state.name for state in self.states() if not state.has_ended}
        stopping = [name for name in names if name in alive]
        for name in stopping:
            self._rpc("stopProcess", name, False)
        _until(
            lambda: all(state.has_ended for state in self.states() if state.name in stopping),
            _STOP_S,
            f"{', '.join(stopping)} did not stop",
        )

    def restart(self, names: Iterable[str]) -> None:
        names = list(names)
        self.stop(names)
        for name in names:
            self._rpc("startProcess", name, False)

    def shutdown(self, stopped: Iterable[str]) -> None:
        """End supervisord, whose parts were stopped; left with them it would take a second for each."""
        for name in stopped:
            self._rpc("removeProcessGroup", name)
        self._rpc("shutdown")
        ended = lambda: all(process.part != SUPERVISOR for process in processes(self._home))  # noqa: E731
        _until(ended, _STOP_S, "supervisord did not end")

    def states(self) -> list[ProcessState]:
        return [
            ProcessState(
                name=told["name"],
                state=told["statename"],
                pid=told["pid"],
                up_s=max(0, told["now"] - told["start"]) if told["pid"] else 0,
            )
            for told in self._rpc("getAllProcessInfo")
        ]

    def _revive(self, only: Callable[[str], bool]) -> list[str]:
        ended = [state.name for state in self.states() if only(state.name) and state.has_ended]
        for name in ended:
            self._rpc("startProcess", name, False)
        return ended

    def _write(self, entries: Iterable[str]) -> None:
        home, socket = (str(path).replace("%", "%%") for path in (self._home.path, self._home.socket))
        user = f"user={os.geteuid()}" if os.geteuid() == 0 else ""
        write_private(self._config, _CONFIG.format(home=home, socket=socket, user=user) + "".join(entries))

    def _rpc(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._home.socket}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def _may_inherit(name: str) -> bool:
    return not name.startswith(_OURS) and not name.endswith(_KEYS)


def _until(done: Callable[[], bool], timeout_s: float, complaint: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise StackError(f"{complaint} within {timeout_s:.0f} s")
        time.sleep(_POLL_S)
