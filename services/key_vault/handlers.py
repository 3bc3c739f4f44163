"""Bus in: message → use case → message. Only the named callers are heard (HPKE does not tell who sealed)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.key_vault.domain.entry import check_user_id
from shared.contracts.consent import ChangeUserSettings, GetUserSettings, UserSettings
from shared.contracts.keys import (
    Credential,
    Credentials,
    KeyResolved,
    KeysRevoked,
    KeysRewrapped,
    ListKeys,
    ReplaceKey,
    ResolveKey,
    RevokeKey,
    RevokeKeys,
    RewrapKeys,
    StoreKey,
    UpdateKey,
)
from shared.kernel.names import API_EDGE, INFERENCE
from shared.runtime.logs import bound, get_logger
from shared.runtime.rpc import Route


@dataclass(frozen=True)
class Handlers:
    """The use cases, as messages reach them. The RPC server logs outcome and time; here, what was done."""

    resolve: Callable[[ResolveKey], Awaitable[KeyResolved]]
    store: Callable[[StoreKey], Awaitable[Credential]]
    all_keys: Callable[[ListKeys], Awaitable[Credentials]]
    replace: Callable[[ReplaceKey], Awaitable[Credential]]
    update: Callable[[UpdateKey], Awaitable[Credential]]
    revoke: Callable[[RevokeKey], Awaitable[KeysRevoked]]
    revoke_all: Callable[[RevokeKeys], Awaitable[KeysRevoked]]
    settings: Callable[[GetUserSettings], Awaitable[UserSettings]]
    change_settings: Callable[[ChangeUserSettings], Awaitable[UserSettings]]
    rewrap: Callable[[RewrapKeys], Awaitable[KeysRewrapped]]

    def routes(self) -> list[Route]:
        return [
            Route(ResolveKey, self.on_resolve_key, callers=(INFERENCE,)),
            Route(StoreKey, self.on_store_key, callers=(API_EDGE,)),
            Route(ListKeys, self.on_list_keys, callers=(API_EDGE,)),
            Route(ReplaceKey, self.on_replace_key, callers=(API_EDGE,)),
            Route(UpdateKey, self.on_update_key, callers=(API_EDGE,)),
            Route(RevokeKey, self.on_revoke_key, callers=(API_EDGE,)),
            Route(RevokeKeys, self.on_revoke_keys, callers=(API_EDGE,)),
            Route(GetUserSettings, self.on_get_settings, callers=(API_EDGE,)),
            Route(ChangeUserSettings, self.on_change_settings, callers=(API_EDGE,)),
            Route(RewrapKeys, self.on_rewrap_keys, callers=(API_EDGE,)),
        ]

    async def on_resolve_key(self, query: ResolveKey) -> KeyResolved:
        check_user_id(query.user_id)
        with bound(run_id=query.run_id, user_id=query.user_id, attempt=query.attempt):
            resolved = await self.resolve(query)
            get_logger().info(
                "key resolved",
                key_source=resolved.source,
                key_service=resolved.service,
                credential_id=resolved.credential_id,
                policy=query.policy,
            )
            return resolved

    async def on_store_key(self, command: StoreKey) -> Credential:
        check_user_id(command.user_id)
        with bound(user_id=command.user_id):
            stored = await self.store(command)
            get_logger().info("key stored", key_service=stored.service, credential_id=str(stored.id))
            return stored

    async def on_replace_key(self, command: ReplaceKey) -> Credential:
        check_user_id(command.user_id)
        with bound(user_id=command.user_id):
            stored = await self.replace(command)
            get_logger().info("key replaced", credential_id=str(stored.id), version=stored.version)
            return stored

    async def on_update_key(self, command: UpdateKey) -> Credential:
        check_user_id(command.user_id)
        with bound(user_id=command.user_id):
            stored = await self.update(command)
            get_logger().info("key changed", credential_id=str(stored.id), status=stored.status)
            return stored

    async def on_list_keys(self, query: ListKeys) -> Credentials:
        check_user_id(query.user_id)
        with bound(user_id=query.user_id):
            return await self.all_keys(query)

    async def on_revoke_key(self, command: RevokeKey) -> KeysRevoked:
        check_user_id(command.user_id)
        with bound(user_id=command.user_id):
            revoked = await self.revoke(command)
            get_logger().info("key revoked", credential_ids=[str(gone) for gone in revoked.credential_ids])
            return revoked

    async def on_revoke_keys(self, command: RevokeKeys) -> KeysRevoked:
        check_user_id(command.user_id)
        with bound(user_id=command.user_id):
            revoked = await self.revoke_all(command)
            get_logger().info("key revoked", credential_ids=[str(gone) for gone in revoked.credential_ids])
            return revoked

    async def on_get_settings(self, query: GetUserSettings) -> UserSettings:
        check_user_id(query.user_id)
        with bound(user_id=query.user_id):
            return await self.settings(query)

    async def on_change_settings(self, command: ChangeUserSettings) -> UserSettings:
        check_user_id(command.user_id)
        with bound(user_id=command.user_id):
            decided = await self.change_settings(command)
            get_logger().info("consent decided", consent_id=decided.consent_id)
            return decided

    async def on_rewrap_keys(self, command: RewrapKeys) -> KeysRewrapped:
        done = await self.rewrap(command)
        get_logger().info(
            "keys rewrapped", rewrapped=done.rewrapped, remaining=done.remaining, version=done.key_version
        )
        return done
