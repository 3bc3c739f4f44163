"""A RabbitMQ cluster on this machine: nodes that can be killed, behind one address that balances."""

import asyncio
import itertools
import os
import secrets
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from infra.configurations import ADMINISTRATOR
from infra.local.servers import epmd_environment, rabbitmq_environment, write_rabbitmq_conf
from tests.gate import free_port
from tests.loopback import http_client
from tests.nursery import die_with_parent
from tests.passing import HOST, by_way_of, listening, pass_on
from tests.waiting import until

_NODES: Final = 3
_PASSWORD: Final = "of-this-test"
_LOGIN: Final = (ADMINISTRATOR, _PASSWORD)
_APART_S: Final = 2.0
"""Nodes that are new at the same moment may each begin a cluster."""
_READY_S: Final = 90.0


@dataclass
class Node:
    """`name` is Erlang's."""

    name: str
    home: Path
    ports: Mapping[str, int]
    process: Process | None = None

    def at(self, url: str) -> str:
        """Return a URL of the cluster's as one of this node alone."""
        return by_way_of(self.ports["amqp"], url)


@dataclass(frozen=True)
class Cluster:
    """The addresses are the balancer's, with the administrator's login."""

    amqp_url: str
    management_url: str
    nodes: Sequence[Node]
    _script: Path

    async def start(self, node: Node) -> None:
        """Start it, without waiting until it has joined."""
        env = {"PATH": os.environ["PATH"], **rabbitmq_environment(node.home, node.name, node.ports)}
        with (node.home / "output").open("ab") as output:
            node.process = await asyncio.create_subprocess_exec(
                str(self._script),
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    async def kill(self, node: Node) -> None:
        """kill -9."""
        if node.process is not None and node.process.returncode is None:
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
        return str((await self._told("overview"))["rabbitmq_version"])

    async def leader_of(self, queue: str) -> Node:
        """Return the node whose copy of it leads, once the statistics say so."""
        leaders: list[Node] = []

        async def is_told() -> bool:
            told = {q.get("leader") for q in await self._told("queues") if q["name"] == queue}
            leaders[:] = [node for node in self.nodes if node.name in told]
            return bool(leaders)

        await until(is_told, _READY_S)
        return leaders[0]

    async def _told(self, what: str) -> Any:
        async with http_client(auth=_LOGIN, timeout=10) as http:
            return (await http.get(f"{self.management_url}/api/{what}")).raise_for_status().json()


@asynccontextmanager
async def running_cluster(folder: Path, script: Path) -> AsyncIterator[Cluster]:
    """Three nodes, joined; none is left at the end. `script`: the server's."""
    names = [f"node{n}@localhost" for n in range(1, _NODES + 1)]
    cookie, epmd = secrets.token_hex(16), free_port()
    nodes = [_node(folder / name, name, epmd) for name in names]
    for node in nodes:
        _write(node, names, cookie)
    async with AsyncExitStack() as stack:
        amqp, management = [
            await stack.enter_async_context(_balanced([node.ports[what] for node in nodes]))
            for what in ("amqp", "management")
        ]
        await stack.enter_async_context(_epmd(nodes[0].ports))
        login = ":".join(_LOGIN)
        urls = f"amqp://{login}@{HOST}:{amqp}/", f"http://{HOST}:{management}"
        cluster = Cluster(*urls, nodes, script)
        for node in nodes:
            stack.push_async_callback(cluster.kill, node)
            await cluster.start(node)
            await asyncio.sleep(_APART_S)
        await until(cluster.is_whole, _READY_S)
        yield cluster


def _node(home: Path, name: str, epmd: int) -> Node:
    return Node(name, home, {"epmd": epmd, **{what: free_port() for what in ("amqp", "management", "dist")}})


def _write(node: Node, names: Sequence[str], cookie: str) -> None:
    node.home.mkdir()
    secret = node.home / ".erlang.cookie"
    secret.write_text(cookie)
    secret.chmod(0o400)
    peers = "".join(
        f"cluster_formation.classic_config.nodes.{place} = {name}\n" for place, name in enumerate(names, 1)
    )
    more = f"""cluster_partition_handling = pause_minority
cluster_formation.peer_discovery_backend = classic_config
{peers}"""
    write_rabbitmq_conf(node.home, node.ports, _PASSWORD, more)


@asynccontextmanager
async def _epmd(ports: Mapping[str, int]) -> AsyncIterator[None]:
    """The nodes' directory of one another."""
    program = shutil.which("epmd")
    assert program is not None, "Erlang comes with RabbitMQ"
    process = await asyncio.create_subprocess_exec(
        program, env=epmd_environment(ports), preexec_fn=die_with_parent
    )
    try:
        yield
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
