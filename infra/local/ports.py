"""Ports of one's own on loopback: picked free once, then kept."""

import json
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from infra.bootstrap.envfiles import write_private
from infra.local.errors import StackError
from infra.local.home import Home

NAMES = ("edge", "amqp", "management", "epmd", "dist", "vault", "vault_cluster", "postgres", "simulator")
_EDGE_PREFERRED = 8080
# Below the range that systems hand out to outgoing connections.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 200


def ports(
    home: Home, *, running: bool, serving: bool | None = None, edge: int | None = None
) -> dict[str, int]:
    """Return the stack's ports by name.

    While the stack is down, or (`serving`) its edge alone, a port that something else has taken meanwhile is
    replaced. `edge` asks for one. Raises StackError when another program has that.
    """
    up = {"edge": running if serving is None else serving}
    known = _read(home)
    chosen = {name: port for name, port in known.items() if up.get(name, running) or is_free(port)}
    if edge is not None and chosen.get("edge") != edge:
        if not is_free(edge):
            raise StackError(f"LATCHKEY_HTTP__PORT: another program has port {edge}")
        chosen["edge"] = edge
    if "edge" not in chosen and is_free(_EDGE_PREFERRED):
        chosen["edge"] = _EDGE_PREFERRED
    for name in NAMES:
        if name not in chosen:
            chosen[name] = _pick(set(chosen.values()))
    if chosen != known:
        write_private(home / "ports.json", json.dumps(chosen, indent=1))
    return chosen


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def held(port: int) -> Iterator[None]:
    """Let no other stack find this port free meanwhile; one that is taken already is let be."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            holder.bind(("127.0.0.1", port))
            holder.listen()
        yield


def is_open(port: int) -> bool:
    """Tell whether something listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _read(home: Home) -> dict[str, int]:
    path = home / "ports.json"
    known: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    return known


def _pick(taken: set[int]) -> int:
    for _ in range(_TRIES):
        port = random.randrange(_FIRST, _LAST)  # noqa: S311
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port between {_FIRST} and {_LAST}")
