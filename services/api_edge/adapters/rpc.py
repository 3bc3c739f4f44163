"""key_vault, inference and billing, asked over the bus."""

from typing import Final
from uuid import UUID

from shared.contracts.billing import GetReceipt, ListUsage, Receipt, UsagePage
from shared.contracts.consent import ChangeUserSettings, GetUserSettings, UserSettings
from shared.contracts.credits import (
    AdjustCredits,
    Balance,
    CreditsMoved,
    DeductCredits,
    GetBalance,
    GrantCredits,
    ListStatement,
    StatementPage,
)
from shared.contracts.keys import (
    Credential,
    Credentials,
    GetKeyStatus,
    IssueSessionKey,
    KeysRevoked,
    KeysRewrapped,
    KeyStatus,
    ListKeys,
    ReplaceKey,
    RevokeKey,
    RevokeKeys,
    RewrapKeys,
    SessionKeyIssued,
    StoreKey,
    UpdateKey,
)
from shared.contracts.models import ListedModel, ListModels, ModelsListed
from shared.contracts.platform_keys import ListPlatformKeys, MendPlatformKey, PlatformKeyInfo, PlatformKeys
from shared.contracts.prices import ListPrices, PriceList, PriceSet, SetPrice
from shared.contracts.validation import KeyValidated, ValidateKey
from shared.kernel.names import KeyVerdict
from shared.runtime.rpc import RpcClient

_LIST_S: Final = 15.0
_REWRAP_S: Final = 30.0
"""A batch is many calls of Vault."""


class RpcKeyVault:
    def __init__(self, rpc: RpcClient, *, timeout_s: float) -> None:
        self._rpc = rpc
        self._timeout_s = timeout_s

    async def store(self, command: StoreKey) -> Credential:
        return await self._rpc.call(command, Credential, timeout_s=self._timeout_s)

    async def replace(self, command: ReplaceKey) -> Credential:
        return await self._rpc.call(command, Credential, timeout_s=self._timeout_s)

    async def update(self, command: UpdateKey) -> Credential:
        return await self._rpc.call(command, Credential, timeout_s=self._timeout_s)

    async def list(self, user_id: str) -> Credentials:
        return await self._rpc.call(ListKeys(user_id=user_id), Credentials, timeout_s=self._timeout_s)

    async def revoke(self, user_id: str, credential_id: UUID) -> None:
        command = RevokeKey(user_id=user_id, credential_id=credential_id)
        await self._rpc.call(command, KeysRevoked, timeout_s=self._timeout_s)

    async def issue_session(self, command: IssueSessionKey) -> SessionKeyIssued:
        return await self._rpc.call(command, SessionKeyIssued, timeout_s=self._timeout_s)

    async def settings(self, user_id: str) -> UserSettings:
        query = GetUserSettings(user_id=user_id)
        return await self._rpc.call(query, UserSettings, timeout_s=self._timeout_s)

    async def change_settings(self, command: ChangeUserSettings) -> UserSettings:
        return await self._rpc.call(command, UserSettings, timeout_s=self._timeout_s)

    async def status(self, user_id: str) -> KeyStatus:
        return await self._rpc.call(GetKeyStatus(user_id=user_id), KeyStatus, timeout_s=self._timeout_s)


class RpcKeyAdministration:
    def __init__(self, rpc: RpcClient, *, timeout_s: float) -> None:
        self._rpc = rpc
        self._timeout_s = timeout_s

    async def platform_keys(self) -> PlatformKeys:
        return await self._rpc.call(ListPlatformKeys(), PlatformKeys, timeout_s=self._timeout_s)

    async def mend_platform_key(self, credential_id: str) -> PlatformKeyInfo:
        command = MendPlatformKey(credential_id=credential_id)
        return await self._rpc.call(command, PlatformKeyInfo, timeout_s=self._timeout_s)

    async def revoke_all(self, command: RevokeKeys) -> tuple[UUID, ...]:
        revoked = await self._rpc.call(command, KeysRevoked, timeout_s=self._timeout_s)
        return revoked.credential_ids

    async def rewrap(self, limit: int) -> KeysRewrapped:
        return await self._rpc.call(RewrapKeys(limit=limit), KeysRewrapped, timeout_s=_REWRAP_S)


class RpcKeyValidator:
    """`timeout_s` is the provider's time and ours."""

    def __init__(self, rpc: RpcClient, *, timeout_s: float) -> None:
        self._rpc = rpc
        self._timeout_s = timeout_s

    async def validate(self, command: ValidateKey) -> KeyVerdict:
        return (await self._rpc.call(command, KeyValidated, timeout_s=self._timeout_s)).verdict


class RpcModelLister:
    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc

    async def __call__(self) -> tuple[ListedModel, ...]:
        """Return OpenRouter's list. Raises `provider_error`, `service_unavailable`, `bus_unavailable`."""
        return (await self._rpc.call(ListModels(), ModelsListed, timeout_s=_LIST_S)).models


class RpcBilling:
    def __init__(self, rpc: RpcClient, *, timeout_s: float) -> None:
        self._rpc = rpc
        self._timeout_s = timeout_s

    async def grant(self, command: GrantCredits) -> CreditsMoved:
        return await self._rpc.call(command, CreditsMoved, timeout_s=self._timeout_s)

    async def adjust(self, command: AdjustCredits) -> CreditsMoved:
        return await self._rpc.call(command, CreditsMoved, timeout_s=self._timeout_s)

    async def deduct(self, command: DeductCredits) -> CreditsMoved:
        return await self._rpc.call(command, CreditsMoved, timeout_s=self._timeout_s)

    async def balance(self, user_id: str) -> Balance:
        return await self._rpc.call(GetBalance(user_id=user_id), Balance, timeout_s=self._timeout_s)

    async def receipt(self, user_id: str, run_id: UUID) -> Receipt:
        query = GetReceipt(user_id=user_id, run_id=run_id)
        return await self._rpc.call(query, Receipt, timeout_s=self._timeout_s)

    async def statement(self, user_id: str, limit: int, cursor: str | None) -> StatementPage:
        query = ListStatement(user_id=user_id, limit=limit, cursor=cursor)
        return await self._rpc.call(query, StatementPage, timeout_s=self._timeout_s)

    async def usage(self, query: ListUsage) -> UsagePage:
        return await self._rpc.call(query, UsagePage, timeout_s=self._timeout_s)


class RpcPriceAdministration:
    def __init__(self, rpc: RpcClient, *, timeout_s: float) -> None:
        self._rpc = rpc
        self._timeout_s = timeout_s

    async def set_price(self, command: SetPrice) -> PriceSet:
        return await self._rpc.call(command, PriceSet, timeout_s=self._timeout_s)

    async def prices(self, model: str | None) -> PriceList:
        return await self._rpc.call(ListPrices(model=model), PriceList, timeout_s=self._timeout_s)
