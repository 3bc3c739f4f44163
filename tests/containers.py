"""The servers as containers of their official images, by testcontainers.

Its reaper is a container of its own, which not every registry has: off, and we clean up ourselves. What a
killed test run leaves behind is removed by the next one.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Final

import docker
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from infra.bootstrap import Servers

RABBITMQ: Final = "rabbitmq:4-management"
POSTGRES: Final = "postgres:18"
VAULT: Final = "hashicorp/vault:latest"
_OWNER: Final = "dev.latchkey.test-run"


@asynccontextmanager
async def servers_in_docker() -> AsyncIterator[Servers]:
    """The three servers on ports of their own, started side by side."""
    testcontainers_config.ryuk_disabled = True
    await asyncio.to_thread(_remove_left_behind)
    password = secrets.token_urlsafe(16)
    parts = {"rabbitmq": _rabbitmq(password), "vault": _vault(password), "postgres": _postgres(password)}
    with ExitStack() as stack:
        for part in parts.values():
            stack.callback(part.stop)
        await asyncio.gather(*(asyncio.to_thread(part.start) for part in parts.values()))
        yield _addresses(parts, password)


def _rabbitmq(password: str) -> DockerContainer:
    login = {"RABBITMQ_DEFAULT_USER": "latchkey", "RABBITMQ_DEFAULT_PASS": password}
    return _container(RABBITMQ, 5672, 15672, env=login)


def _vault(token: str) -> DockerContainer:
    # The default command is a development server: in memory and unsealed. It locks no memory.
    env = {"VAULT_DEV_ROOT_TOKEN_ID": token, "SKIP_SETCAP": "true"}
    return _container(VAULT, 8200, env=env)


def _postgres(password: str) -> DockerContainer:
    command = "postgres -c max_connections=300 -c fsync=off"
    return _container(POSTGRES, 5432, env={"POSTGRES_PASSWORD": password}, command=command)


def _container(image: str, *ports: int, env: dict[str, str], command: str | None = None) -> DockerContainer:
    labels = {_OWNER: str(os.getpid())}
    return DockerContainer(image, command=command, env=env, ports=list(ports), labels=labels)


def _addresses(parts: dict[str, DockerContainer], password: str) -> Servers:
    def at(part: str, port: int) -> str:
        return f"{parts[part].get_container_host_ip()}:{parts[part].get_exposed_port(port)}"

    return Servers(
        amqp_url=f"amqp://latchkey:{password}@{at('rabbitmq', 5672)}/",
        management_url=f"http://latchkey:{password}@{at('rabbitmq', 15672)}",
        vault_addr=f"http://{at('vault', 8200)}",
        vault_token=password,
        postgres_url=f"postgresql://postgres:{password}@{at('postgres', 5432)}/postgres",
    )


def _remove_left_behind() -> None:
    with _engine() as client:
        for container in client.containers.list(all=True, filters={"label": _OWNER}):
            if not _is_alive(int(container.labels[_OWNER])):
                container.remove(force=True, v=True)


@contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    try:
        yield client
    finally:
        client.close()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
