"""A RabbitMQ cluster on this machine: nodes that can be killed, behind one address that balances."""

import asyncio
import itertools
import os
import secrets
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import httpx2

from tests.gate import free_port
from tests.loopback import http_client
from tests.nursery import die_with_parent
from tests.passing import HOST, listening, pass_on
from tests.waiting import until

_NODES: Final = 3
_LOGIN: Final = ("administrator", "of-this-test")
_ERLANG: Final = "+P 262144 +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
_OWN_DISTRIBUTION: Final = "-noinput -kernel inet_dist_use_interface {127,0,0,1}"
_APART_S: Final = 2.0
"""Nodes that are new at the same moment may each begin a cluster."""
_READY_S: Final = 90.0


@dataclass
class Node:
    """`name` is Erlang's; the ports are AMQP's and the management API's."""

    name: str
    home: Path
    amqp: int = field(default_factory=free_port)
    management: int = field(default_factory=free_port)
    distribution: int = field(default_factory=free_port)
    process: Process | None = None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def at(self, url: str) -> str:
        """Return a URL of the cluster's as one of this node alone."""
        parts = urlsplit(url)
        login = parts.netloc.rpartition("@")[0]
        return urlunsplit((parts.scheme, f"{login}@{HOST}:{self.amqp}", *parts[2:]))


@dataclass(frozen=True)
class Cluster:
    """The addresses are the balancer's, with the administrator's login."""

    amqp_url: str
    management_url: str
    nodes: Sequence[Node]
    _script: Path
    _epmd: int

    async def start(self, node: Node) -> None:
        """Start it, without waiting until it has joined."""
        with (node.home / "log").open("ab") as log:
            node.process = await asyncio.create_subprocess_exec(
                str(self._script),
                env=self._environment(node),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    async def kill(self, node: Node) -> None:
        """kill -9."""
        if node.process is not None and node.is_running:
            os.killpg(node.process.pid, signal.SIGKILL)
            await node.process.wait()

    async def is_whole(self) -> bool:
        """Say whether all nodes are there, and every replicated queue on all of them."""
        try:
            nodes, queues = await self._told("nodes"), await self._told("queues")
        except httpx2.HTTPError:
            return False
        running = sum(bool(node.get("running")) for node in nodes)
        copies = [len(queue.get("online", ())) for queue in queues if queue["type"] != "classic"]
        return running == _NODES and all(number == _NODES for number in copies)

    async def version(self) -> str:
        async with http_client(auth=_LOGIN, timeout=10) as http:
            answer = await http.get(f"{self.management_url}/api/overview")
        return str(answer.raise_for_status().json()["rabbitmq_version"])

    async def leader_of(self, queue: str) -> Node:
        """Return the node whose copy of it leads, once the statistics say so."""
        leaders: list[Node] = []

        async def is_told() -> bool:
            told = {q.get("leader") for q in await self._told("queues") if q["name"] == queue}
            leaders[:] = [node for node in self.nodes if node.name in told]
            return bool(leaders)

        await until(is_told, _READY_S)
        return leaders[0]

    async def _told(self, what: str) -> list[dict[str, Any]]:
        async with http_client(auth=_LOGIN, timeout=10) as http:
            answer = (await http.get(f"{self.management_url}/api/{what}")).raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    def _environment(self, node: Node) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(node.home),  # the cookie's place
            **_erlang(self._epmd),
            "RABBITMQ_NODENAME": node.name,
            "RABBITMQ_DIST_PORT": str(node.distribution),
            "RABBITMQ_MNESIA_BASE": str(node.home / "data"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(node.home / "generated"),
            "RABBITMQ_LOG_BASE": str(node.home),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(node.home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(node.home / "plugins"),
            "RABBITMQ_SERVER_ERL_ARGS": _ERLANG,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _OWN_DISTRIBUTION,
            "RABBITMQ_ALLOW_INPUT": "1",
        }


@asynccontextmanager
async def running_cluster(folder: Path, script: Path) -> AsyncIterator[Cluster]:
    """Three nodes, joined; none is left at the end. `script`: the server's."""
    names, cookie = [f"node{n}@localhost" for n in range(1, _NODES + 1)], secrets.token_hex(16)
    nodes = [Node(name, folder / name) for name in names]
    for node in nodes:
        _write(node, names, cookie)
    async with AsyncExitStack() as stack:
        amqp = await stack.enter_async_context(_balanced([node.amqp for node in nodes]))
        management = await stack.enter_async_context(_balanced([node.management for node in nodes]))
        epmd = await stack.enter_async_context(_epmd())
        login = ":".join(_LOGIN)
        urls = f"amqp://{login}@{HOST}:{amqp}/", f"http://{HOST}:{management}"
        cluster = Cluster(*urls, nodes, script, epmd)
        for node in nodes:
            stack.push_async_callback(cluster.kill, node)
            await cluster.start(node)
            await asyncio.sleep(_APART_S)
        await until(cluster.is_whole, _READY_S)
        yield cluster


def _write(node: Node, names: Sequence[str], cookie: str) -> None:
    node.home.mkdir()
    secret = node.home / ".erlang.cookie"
    secret.write_text(cookie)
    secret.chmod(0o400)
    (node.home / "plugins").write_text("[rabbitmq_management].\n")
    peers = "".join(
        f"cluster_formation.classic_config.nodes.{place} = {name}\n" for place, name in enumerate(names, 1)
    )
    (node.home / "rabbitmq.conf").write_text(f"""
listeners.tcp.local = {HOST}:{node.amqp}
management.tcp.ip = {HOST}
management.tcp.port = {node.management}
default_user = {_LOGIN[0]}
default_pass = {_LOGIN[1]}
default_user_tags.administrator = true
loopback_users = none
max_message_size = 16777216
cluster_partition_handling = pause_minority
cluster_formation.peer_discovery_backend = classic_config
{peers}""")


def _erlang(epmd: int) -> dict[str, str]:
    return {"ERL_EPMD_PORT": str(epmd), "ERL_EPMD_ADDRESS": HOST}


@asynccontextmanager
async def _epmd() -> AsyncIterator[int]:
    """The nodes' directory of one another; yield its port."""
    port, program = free_port(), shutil.which("epmd")
    assert program is not None, "Erlang comes with RabbitMQ"
    process = await asyncio.create_subprocess_exec(program, env=_erlang(port), preexec_fn=die_with_parent)
    try:
        yield port
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def _balanced(ports: Sequence[int]) -> AsyncIterator[int]:
    """Yield a port that leads to the next one that answers."""
    turn, port = itertools.count(), free_port()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in ports:
            try:
                await pass_on(reader, writer, (HOST, ports[next(turn) % len(ports)]))
            except OSError:
                continue
            return

    async with listening(visit, port):
        yield port
