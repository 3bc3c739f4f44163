"""key_vault and billing, asked over the bus."""

from uuid import UUID

from shared.contracts.billing import (
    Balance,
    GetBalance,
    GetReceipt,
    Grant,
    GrantCredits,
    ListUsage,
    Receipt,
    UsagePage,
)
from shared.contracts.keys import Credential, Credentials, KeysRevoked, ListKeys, RevokeKey, StoreKey
from shared.runtime.rpc import RpcClient


class RpcKeyVault:
    def __init__(self, rpc: RpcClient, *, timeout_s: float) -> None:
        self._rpc = rpc
        self._timeout_s = timeout_s

    async def store(self, command: StoreKey) -> Credential:
        return await self._rpc.call(command, Credential, timeout_s=self._timeout_s)

    async def list(self, user_id: str) -> Credentials:
        return await self._rpc.call(ListKeys(user_id=user_id), Credentials, timeout_s=self._timeout_s)

    async def revoke(self, user_id: str, credential_id: UUID) -> None:
        command = RevokeKey(user_id=user_id, credential_id=credential_id)
        await self._rpc.call(command, KeysRevoked, timeout_s=self._timeout_s)


class RpcBilling:
    def __init__(self, rpc: RpcClient, *, timeout_s: float) -> None:
        self._rpc = rpc
        self._timeout_s = timeout_s

    async def grant(self, command: GrantCredits) -> Grant:
        return await self._rpc.call(command, Grant, timeout_s=self._timeout_s)

    async def balance(self, user_id: str) -> Balance:
        return await self._rpc.call(GetBalance(user_id=user_id), Balance, timeout_s=self._timeout_s)

    async def receipt(self, user_id: str, run_id: UUID) -> Receipt:
        query = GetReceipt(user_id=user_id, run_id=run_id)
        return await self._rpc.call(query, Receipt, timeout_s=self._timeout_s)

    async def usage(self, user_id: str, limit: int, cursor: str | None) -> UsagePage:
        query = ListUsage(user_id=user_id, limit=limit, cursor=cursor)
        return await self._rpc.call(query, UsagePage, timeout_s=self._timeout_s)
