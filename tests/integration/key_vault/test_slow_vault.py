"""One call to Vault hangs; everybody else's keys are resolved meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from services.key_vault.app import serving
from services.key_vault.settings import KeyVaultSettings
from shared.kernel.errors import VaultUnavailableError
from shared.kernel.names import KEY_VAULT
from tests.integration.key_vault.clients import Edge, RpcWorker
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

RESOLVES: Final = 500
USERS: Final = 50
COLD: Final = 10
"""So many of the users were not asked about before: they need Vault, too."""
_CHUNK: Final = 65_536


class SlowOnce:
    """Passes everything on to Vault; once it is armed, holds one decrypt back until it is released."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self.is_armed = False
        self.holds = asyncio.Event()
        self.released = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        await asyncio.gather(self._ask(reader, upstream_writer), self._answer(upstream_reader, writer))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if self.is_armed and b"/decrypt/" in data:
                self.is_armed = False
                self.holds.set()
                await self.released.wait()
            writer.write(data)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            writer.write(data)
        writer.close()


@asynccontextmanager
async def _before(vault_addr: str) -> AsyncIterator[tuple[SlowOnce, str]]:
    address = urlsplit(vault_addr)
    slow = SlowOnce(str(address.hostname), address.port or 8200)
    server = await asyncio.start_server(slow.serve, "127.0.0.1", 0)
    async with server:
        yield slow, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_500_resolves_do_not_wait_for_a_slow_one(
    realm: TestRealm, edge: Edge, worker: RpcWorker
) -> None:
    values = realm.settings(KEY_VAULT)
    users = [f"user-{uuid4().hex}" for _ in range(USERS)]
    async with (
        _before(values["vault_addr"]) as (slow, address),
        serving(KeyVaultSettings(**{**values, "vault_addr": address})),
    ):
        await asyncio.gather(*(edge.keep(f"sk-{user}", user_id=user) for user in ["slow", *users]))
        await asyncio.gather(*(worker.resolve(user_id=user) for user in users[COLD:]))
        slow.is_armed = True
        waiting = asyncio.create_task(worker.resolve(user_id="slow"))
        await slow.holds.wait()

        asked = (worker.resolve(user_id=users[number % USERS]) for number in range(RESOLVES))
        many = [asyncio.create_task(each) for each in asked]
        everybody = asyncio.gather(*many)
        either: set[asyncio.Future[Any]] = {waiting, everybody}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        answered = sum(task.done() for task in many)
        slow.released.set()

        assert answered > RESOLVES // 2, "they waited, or were too slow to show anything"
        assert {key for _, key in await everybody} == {f"sk-{user}" for user in users}
        with suppress(VaultUnavailableError):  # as on a slow machine, where it is held past its deadline
            assert (await waiting)[1] == "sk-slow"
