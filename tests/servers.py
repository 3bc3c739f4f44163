"""Real servers for the tests: from the environment, else from a Docker Engine, else from the native stack."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import docker
import docker.errors
import httpx2

from infra.bootstrap import Servers
from tests.loopback import http_client

_READY_S: Final = 90.0
_POLL_S: Final = 0.2
_ADDRESSES: Final = {
    "amqp_url": "LATCHKEY_TEST_AMQP_URL",
    "management_url": "LATCHKEY_TEST_MANAGEMENT_URL",
    "vault_addr": "LATCHKEY_TEST_VAULT_ADDR",
    "vault_token": "LATCHKEY_TEST_VAULT_TOKEN",
    "postgres_url": "LATCHKEY_TEST_POSTGRES_URL",
}
_UNIX: Final = "unix://"
_DOCKER_SOCKET: Final = "unix:///var/run/docker.sock"
_FORCED: Final = "LATCHKEY_TEST_SERVERS"


class Way(StrEnum):
    """Where the servers come from."""

    ENVIRONMENT = "environment"
    DOCKER = "docker"
    NATIVE = "native"


def has_docker() -> bool:
    """Return whether a Docker Engine answers where Docker's own client would look for it."""
    address = os.environ.get("DOCKER_HOST", _DOCKER_SOCKET)
    if address.startswith(_UNIX) and not _listens(address.removeprefix(_UNIX)):
        return False  # the client leaks a socket when it cannot connect
    try:
        client = docker.from_env(timeout=5)
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except (docker.errors.DockerException, OSError):
        return False
    finally:
        client.close()


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def choose(environ: Mapping[str, str], has_docker: Callable[[], bool]) -> Way:
    """Return the way to take; `LATCHKEY_TEST_SERVERS` forces one.

    Raises ValueError when only some of the addresses are given.
    """
    missing = [name for name in _ADDRESSES.values() if not environ.get(name)]
    if forced := environ.get(_FORCED):
        return Way(forced)
    if not missing:
        return Way.ENVIRONMENT
    if len(missing) < len(_ADDRESSES):
        raise ValueError(f"set every server's address or none; missing: {', '.join(missing)}")
    return Way.DOCKER if has_docker() else Way.NATIVE


@asynccontextmanager
async def running_servers(way: Way) -> AsyncIterator[Servers]:
    """Servers that answer; those started here are gone at the end."""
    async with _started(way) as servers:
        await _wait_ready(servers)
        yield servers


def _started(way: Way) -> AbstractAsyncContextManager[Servers]:
    # Imported where chosen: neither way's machinery is needed for the others.
    if way is Way.DOCKER:
        from tests.containers import servers_in_docker  # noqa: PLC0415

        return servers_in_docker()
    if way is Way.NATIVE:
        from tests.native import native_servers  # noqa: PLC0415

        return native_servers()
    return _given()


@asynccontextmanager
async def _given() -> AsyncIterator[Servers]:
    yield Servers(**{name: os.environ[variable] for name, variable in _ADDRESSES.items()})


async def _wait_ready(servers: Servers) -> None:
    probes = {
        "RabbitMQ": lambda: _amqp_answers(servers.amqp_url),
        "RabbitMQ's management API": lambda: _http_answers(servers.management_url),
        "Vault": lambda: _http_answers(f"{servers.vault_addr}/v1/sys/health"),
        "Postgres": lambda: _postgres_answers(servers.postgres_url),
    }
    await asyncio.gather(*(_until_ready(part, probe) for part, probe in probes.items()))


async def _until_ready(part: str, probe: Callable[[], Awaitable[None]]) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            await asyncio.wait_for(probe(), 5)
        except (OSError, httpx2.HTTPError, asyncpg.PostgresError) as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{part} did not answer within {_READY_S:.0f} s") from error
            await asyncio.sleep(_POLL_S)
        else:
            return


async def _amqp_answers(url: str) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(b"AMQP\x00\x00\x09\x01")
        await reader.readexactly(1)
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("closed by RabbitMQ") from error
    finally:
        writer.close()


async def _http_answers(url: str) -> None:
    async with http_client() as client:
        (await client.get(url)).raise_for_status()


async def _postgres_answers(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.close()
