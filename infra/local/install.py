"""RabbitMQ from the system's packages, without starting or keeping the system's own broker."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.errors import StackError

_DEBIAN_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_POLICY = Path("/usr/sbin/policy-rc.d")
_KEPT = Path("/usr/sbin/policy-rc.d.before-latchkey")
_FORBIDDEN = "#!/bin/sh\n# Latchkey: nothing is started while RabbitMQ is being installed.\nexit 101\n"
_FORBID = f"""
[ ! -e {_POLICY} ] || [ -e {_KEPT} ] || mv {_POLICY} {_KEPT}
printf %s "$1" > {_POLICY}
chmod 755 {_POLICY}
"""
_ALLOW = f"""
rm -f {_POLICY}
[ ! -e {_KEPT} ] || mv {_KEPT} {_POLICY}
"""
_ENV = {"DEBIAN_FRONTEND": "noninteractive", "HOMEBREW_NO_AUTO_UPDATE": "1", "LC_ALL": "C"}
_APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")
_BUSY, _BUSY_S, _POLL_S = "Could not get lock", 300, 1
_UNITS = ("rabbitmq-server.service", "epmd.service", "epmd.socket")

Progress = Callable[[str], None]


def rabbitmq_server(progress: Progress) -> Path:
    """Return the server script, installing the package when it is missing.

    Raises StackError with one line that says what to install when that cannot be done here.
    """
    found = _installed()
    if found is None:
        _install(progress)
        found = _installed()
    if found is None:
        raise StackError("RabbitMQ was installed, but its rabbitmq-server script is nowhere to be found")
    return found


def _installed() -> Path | None:
    if _DEBIAN_SERVER.exists():
        return _DEBIAN_SERVER
    if sys.platform == "darwin" and shutil.which("brew"):
        prefix = subprocess.run(["brew", "--prefix"], capture_output=True, text=True, check=True)
        script = Path(prefix.stdout.strip()) / "opt" / "rabbitmq" / "sbin" / "rabbitmq-server"
        return script if script.exists() else None
    anywhere = shutil.which("rabbitmq-server")
    return Path(anywhere).resolve() if anywhere else None


def _install(progress: Progress) -> None:
    if shutil.which("apt-get") and (root := _as_root()) is not None:
        progress("installing RabbitMQ with apt (once, about a minute)")
        with _alone():
            if _installed() is None:
                _install_with_apt(root)
    elif shutil.which("brew"):
        progress("installing RabbitMQ with brew (once, a few minutes)")
        _run(["brew", "install", "rabbitmq"])
    else:
        raise StackError(
            "RabbitMQ is missing: install it (Debian/Ubuntu: `sudo apt-get install rabbitmq-server`; "
            "macOS: `brew install rabbitmq`), then run this again"
        )


def _install_with_apt(root: list[str]) -> None:
    with _nothing_starts(root):
        _update(root)
        _run([*root, *_APT, "install", "--no-install-recommends", "rabbitmq-server"])
    _disable_units(root)


def _update(root: list[str]) -> None:
    """Fetch the package lists; wait while another apt does, for which apt itself has no option."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            return _run([*root, *_APT, "update"])
        except StackError as error:
            if _BUSY not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_S)


@contextmanager
def _alone() -> Iterator[None]:
    """Let one checkout at a time install, whoever it belongs to: anybody may lock a folder."""
    folder = os.open("/var/lib/dpkg", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _as_root() -> list[str] | None:
    """Return what to put before a command to run it as root; None when that would ask for a password."""
    if os.geteuid() == 0:
        return []
    if not shutil.which("sudo"):
        return None
    done = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ["sudo", "-n"] if done.returncode == 0 else None


@contextmanager
def _nothing_starts(root: list[str]) -> Iterator[None]:
    """Forbid packages to start services meanwhile; the machine's own policy comes back afterwards."""
    _run([*root, "sh", "-c", _FORBID, "sh", _FORBIDDEN])
    try:
        yield
    finally:
        _run([*root, "sh", "-c", _ALLOW])


def _disable_units(root: list[str]) -> None:
    """Keep the system's broker from starting at the next boot: nobody asked for it."""
    if Path("/run/systemd/system").exists():
        subprocess.run([*root, "systemctl", "--quiet", "disable", *_UNITS], capture_output=True, check=False)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env={**os.environ, **_ENV}, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
        raise StackError(f"`{' '.join(command[:6])} …` failed:\n{tail}")
