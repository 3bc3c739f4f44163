"""Bus in: message → use case → message. Only the named callers are heard (HPKE does not tell who sealed)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.key_vault.domain.entry import check_user_id
from shared.contracts.keys import (
    Credential,
    Credentials,
    KeyResolved,
    KeysRevoked,
    ListKeys,
    ResolveKey,
    RevokeKey,
    StoreKey,
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
    revoke: Callable[[RevokeKey], Awaitable[KeysRevoked]]

    def routes(self) -> list[Route]:
        return [
            Route(ResolveKey, self.on_resolve_key, callers=(INFERENCE,)),
            Route(StoreKey, self.on_store_key, callers=(API_EDGE,)),
            Route(ListKeys, self.on_list_keys, callers=(API_EDGE,)),
            Route(RevokeKey, self.on_revoke_key, callers=(API_EDGE,)),
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
