"""CPU time of processes and of all that they started, from proc(5)."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICK_MS: Final = 1000 / os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM = 1, 11, 12
Spent = Mapping[tuple[str, int], float]
"""User and system time in ms, by part and process."""


def cpu_of(pids: Iterable[tuple[str, int]]) -> Spent:
    """What these processes, each of a named part, have used so far; ended ones are left out."""
    return {(part, pid): _ms(fields) for part, pid in pids if (fields := _stat(pid))}


def cpu_ms(pid: int) -> float:
    """User and system time of a process so far, in ms. Raises LookupError when it has ended."""
    return _ms(_stat(pid))


def machine_cpu_ms() -> float:
    """User, nice, system, irq and softirq time of all processors so far, in ms."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, (_PROC / "stat").read_text().split()[1:11])
    return (user + nice + system + irq + softirq) * _TICK_MS


def spent_between(before: Spent, after: Spent) -> dict[str, float]:
    """CPU ms of each part; a process that began meanwhile counts whole."""
    parts: dict[str, float] = {}
    for key, ms in after.items():
        parts[key[0]] = parts.get(key[0], 0) + ms - before.get(key, 0)
    return parts


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    parents = {pid: int(fields[_PARENT]) for pid in _pids() if (fields := _stat(pid))}
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def _pids() -> list[int]:
    return [int(folder.name) for folder in _PROC.glob("[0-9]*")]


def _ms(fields: list[str]) -> float:
    return (int(fields[_USER]) + int(fields[_SYSTEM])) * _TICK_MS


def _stat(pid: int) -> list[str]:
    """The fields after the command's name; none when the process has ended."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
