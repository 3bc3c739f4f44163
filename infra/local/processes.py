"""The processes of one home, found by the marker they carry: for sizes, and for what a crash left behind."""

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.local.home import Home
from infra.local.parts import MARKER

_STOP_S, _POLL_S = 10, 0.1


@dataclass(frozen=True)
class Process:
    """One process of the stack; `rss_kb` is its resident memory in KiB."""

    pid: int
    parent: int
    rss_kb: int
    part: str


def processes(home: Home) -> list[Process]:
    """Return all that runs for this home, children with the part of their parent."""
    found: dict[int, Process] = {}
    known = _pid_files(home)
    for pid, parent, rss_kb, text in sorted(_listing()):
        part = _marked(home, text) or _filed(known.get(pid), text)
        part = part or (found[parent].part if parent in found else None)
        if part and pid != os.getpid():
            found[pid] = Process(pid, parent, rss_kb, part)
    return list(found.values())


def end_leftovers(home: Home) -> list[Process]:
    """End what still runs although the process manager is gone; return what was found."""
    left = processes(home)
    _signal(left, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while (still := processes(home)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    _signal(still, signal.SIGKILL)
    return left


def _signal(targets: list[Process], number: signal.Signals) -> None:
    for process in targets:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue


def _listing() -> list[tuple[int, int, int, str]]:
    """Return (pid, parent, resident KiB, command with its environment) of all processes."""
    return _from_proc() if Path("/proc/self/environ").exists() else _from_ps()


def _from_proc() -> list[tuple[int, int, int, str]]:
    rows = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes() + _environ(folder)
            facts = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        except OSError:  # ended meanwhile
            continue
        rss_kb = int(facts.get("VmRSS", "0 kB").split()[0])
        text = words.replace(b"\0", b" ").decode(errors="replace")
        rows.append((int(folder.name), int(facts["PPid"]), rss_kb, text))
    return rows


def _environ(folder: Path) -> bytes:
    try:
        return (folder / "environ").read_bytes()
    except PermissionError:  # somebody else's, or a service that forbids core dumps
        return b""


def _from_ps() -> list[tuple[int, int, int, str]]:
    command = ["ps", "axeww", "-o", "pid=,ppid=,rss=,command="]
    told = subprocess.run(command, capture_output=True, text=True, check=True, errors="replace")
    rows = (line.split(None, 3) for line in told.stdout.splitlines())
    return [(int(row[0]), int(row[1]), int(row[2]), row[3]) for row in rows if len(row) == 4]  # noqa: PLR2004


def _marked(home: Home, text: str) -> str | None:
    marked = re.search(rf"(?:^|\s){MARKER}=(\S+?)@{re.escape(str(home.path))}(?:\s|$)", text)
    if marked:
        return marked[1]
    # Postgres paints over its environment, but keeps its data folder in sight.
    return "postgres" if re.match(rf"\S*postgres -D {re.escape(str(home / 'postgres'))}/", text) else None


def _filed(part: str | None, text: str) -> str | None:
    """Return the part whose pid file names this process, if its command is that part's too."""
    return part if part and f"services.{part.partition('-')[0]}.app" in text else None


def _pid_files(home: Home) -> dict[int, str]:
    known = {}
    for file in (home / "run").glob("*.pid"):
        with suppress(FileNotFoundError):  # a part that ends takes its file away
            known[file.stem] = file.read_text().strip()
    return {int(text): part for part, text in known.items() if text.isdecimal()}
