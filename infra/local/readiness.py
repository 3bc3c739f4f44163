"""Waiting for parts, and telling early and with their last log lines when one fails."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping

from infra.local.console import Progress, last_lines
from infra.local.errors import StackError
from infra.local.home import Home
from infra.local.ports import is_open
from infra.local.supervisor import Supervisor

_POLL_S = 0.1
_STARTS_MAX = 3
Check = Callable[[], bool]


def server_checks(ports: Mapping[str, int]) -> dict[str, Check]:
    return {
        "postgres": lambda: is_open(ports["postgres"]),
        "vault": lambda: answers(f"http://127.0.0.1:{ports['vault']}/v1/sys/health"),
        "rabbitmq": lambda: is_open(ports["amqp"]) and is_open(ports["management"]),
    }


def wait_until_ready(
    home: Home, supervisor: Supervisor, checks: Mapping[str, Check], *, timeout_s: float, progress: Progress
) -> None:
    """Wait for every check, and tell of each that was not ready at once.

    Raises StackError for a part that keeps ending, or is late.
    """
    waiting = {part: check for part, check in checks.items() if not check()}
    starts: dict[str, set[int]] = {part: set() for part in waiting}
    deadline = time.monotonic() + timeout_s
    while waiting:
        if time.monotonic() > deadline:
            late = "\n".join(last_lines(home, part) for part in waiting)
            raise StackError(f"{', '.join(waiting)} not ready after {timeout_s:.0f} s; {late}")
        time.sleep(_POLL_S)
        _check_staying_up(home, supervisor, starts)
        for part in [part for part, check in waiting.items() if check()]:
            progress(f"{part} is ready")
            del waiting[part]


def _check_staying_up(home: Home, supervisor: Supervisor, starts: Mapping[str, set[int]]) -> None:
    """Count each part's processes in `starts`; too many mean that it ends as soon as it begins."""
    for state in supervisor.states():
        if state.name in starts:
            starts[state.name].add(state.pid)
        if state.state == "FATAL" or len(starts.get(state.name, ())) > _STARTS_MAX:
            raise StackError(f"{state.name} does not stay up; {last_lines(home, state.name)}")


def answers(url: str, *, token: str = "") -> bool:
    """Tell whether a loopback URL answers 200 (to this bearer, if one is given)."""
    return _asked(url, token)[0] == 200  # noqa: PLR2004


def serves(url: str, service: str) -> bool:
    """Tell whether the edge at a loopback URL says that a service consumes its queue."""
    try:
        return bool(json.loads(_asked(f"{url}/readyz")[1])["parts"].get(service) == "ok")
    except (ValueError, TypeError, KeyError, AttributeError):  # nobody answers, or somebody else
        return False


def _asked(url: str, token: str = "") -> tuple[int, bytes]:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310
    try:
        with direct.open(request, timeout=2) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()
    except OSError:
        return 0, b""
