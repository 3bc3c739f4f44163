"""The edge and a worker, as key_vault meets them on the bus."""

import asyncio
from typing import Any
from uuid import UUID

from shared.contracts.keys import (
    Credential,
    Credentials,
    GetKeyStatus,
    KeysRevoked,
    KeysRewrapped,
    KeyStatus,
    ListKeys,
    RevokeKey,
    RewrapKeys,
)
from shared.contracts.resolving import KeyResolved
from shared.kernel.errors import PlatformError
from shared.runtime.bus import Bus
from tests.fakes.key_vault_house import KEY, Worker, store_command

TIMEOUT_S = 8.0


class Edge:
    def __init__(self, bus: Bus, public_key: str) -> None:
        self.bus = bus
        self.public_key = public_key

    async def keep(self, key: str = KEY, **fields: Any) -> Credential:
        command = store_command(self.public_key, key, **fields)
        return await self.bus.rpc.call(command, Credential, timeout_s=TIMEOUT_S)

    async def all_keys(self, user_id: str) -> tuple[Credential, ...]:
        query = ListKeys(user_id=user_id)
        return (await self.bus.rpc.call(query, Credentials, timeout_s=TIMEOUT_S)).items

    async def revoke(self, user_id: str, credential_id: UUID) -> KeysRevoked:
        command = RevokeKey(user_id=user_id, credential_id=credential_id)
        return await self.bus.rpc.call(command, KeysRevoked, timeout_s=TIMEOUT_S)

    async def status(self, user_id: str) -> KeyStatus:
        return await self.bus.rpc.call(GetKeyStatus(user_id=user_id), KeyStatus, timeout_s=TIMEOUT_S)

    async def rewrap(self, limit: int) -> KeysRewrapped:
        return await self.bus.rpc.call(RewrapKeys(limit=limit), KeysRewrapped, timeout_s=TIMEOUT_S)


class RpcWorker(Worker):
    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self.bus = bus

    async def resolve(self, **fields: Any) -> tuple[KeyResolved, str]:
        """Ask, and open the answer."""
        query = self.asks(**fields)
        resolved = await self.bus.rpc.call(query, KeyResolved, timeout_s=TIMEOUT_S)
        return resolved, self.opens(resolved, query)

    async def warm(self, edge: Edge, user_id: str) -> None:
        """Resolve until every one of at most two replicas remembers the user (they take turns)."""
        async with asyncio.timeout(5):
            while True:
                await asyncio.gather(*(self.resolve(user_id=user_id) for _ in range(6)))
                statuses = await asyncio.gather(*(edge.status(user_id) for _ in range(6)))
                if all(status.cache_age_s is not None for status in statuses):
                    return
                await asyncio.sleep(0.05)

    async def resolve_in_time(self, **fields: Any) -> tuple[KeyResolved, str]:
        """Ask until there is an answer: within 10 s of its parts being back."""
        async with asyncio.timeout(10):
            while True:
                try:
                    return await self.resolve(**fields)
                except PlatformError:
                    await asyncio.sleep(0.1)
