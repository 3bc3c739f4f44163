"""Requests in: message → use case → message. Only named callers are heard (HPKE does not tell who sealed)."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.key_vault.domain.entry import check_user_id
from shared.contracts.consent import ChangeUserSettings, GetUserSettings, UserSettings
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
from shared.contracts.platform_keys import ListPlatformKeys, MendPlatformKey, PlatformKeyInfo, PlatformKeys
from shared.contracts.resolving import KeyOpened, KeyResolved, OpenKey, ResolveKey
from shared.kernel.names import API_EDGE, INFERENCE
from shared.runtime.logs import bound, get_logger
from shared.runtime.rpc import Route


@dataclass(frozen=True)
class RequestHandlers:
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
    status: Callable[[GetKeyStatus], Awaitable[KeyStatus]]
    rewrap: Callable[[RewrapKeys], Awaitable[KeysRewrapped]]
    issue_session: Callable[[IssueSessionKey], Awaitable[SessionKeyIssued]]
    open_key: Callable[[OpenKey], Awaitable[KeyOpened]]
    platform_keys: Callable[[ListPlatformKeys], Awaitable[PlatformKeys]]
    mend: Callable[[MendPlatformKey], Awaitable[PlatformKeyInfo]]

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
            Route(GetKeyStatus, self.on_get_status, callers=(API_EDGE,)),
            Route(RewrapKeys, self.on_rewrap_keys, callers=(API_EDGE,)),
            Route(IssueSessionKey, self.on_issue_session, callers=(API_EDGE,)),
            Route(OpenKey, self.on_open_key, callers=(INFERENCE,)),
            Route(ListPlatformKeys, self.on_list_platform_keys, callers=(API_EDGE,)),
            Route(MendPlatformKey, self.on_mend_platform_key, callers=(API_EDGE,)),
        ]

    async def on_resolve_key(self, query: ResolveKey) -> KeyResolved:
        with _of_user(query.user_id, run_id=query.run_id, attempt=query.attempt):
            resolved = await self.resolve(query)
            get_logger().info(
                "key resolved",
                key_source=resolved.source,
                key_service=resolved.service,
                credential_id=resolved.credential_id,
                policy=query.policy,
                consent_id=resolved.consent_id,
                would_refuse_policy=resolved.would_refuse_policy,
            )
            return resolved

    async def on_store_key(self, command: StoreKey) -> Credential:
        with _of_user(command.user_id):
            stored = await self.store(command)
            get_logger().info("key stored", key_service=stored.service, credential_id=str(stored.id))
            return stored

    async def on_replace_key(self, command: ReplaceKey) -> Credential:
        with _of_user(command.user_id):
            stored = await self.replace(command)
            get_logger().info("key replaced", credential_id=str(stored.id), version=stored.version)
            return stored

    async def on_update_key(self, command: UpdateKey) -> Credential:
        with _of_user(command.user_id):
            stored = await self.update(command)
            get_logger().info("key changed", credential_id=str(stored.id), status=stored.status)
            return stored

    async def on_list_keys(self, query: ListKeys) -> Credentials:
        with _of_user(query.user_id):
            return await self.all_keys(query)

    async def on_revoke_key(self, command: RevokeKey) -> KeysRevoked:
        with _of_user(command.user_id):
            revoked = await self.revoke(command)
            get_logger().info("key revoked", credential_ids=[str(gone) for gone in revoked.credential_ids])
            return revoked

    async def on_revoke_keys(self, command: RevokeKeys) -> KeysRevoked:
        with _of_user(command.user_id):
            revoked = await self.revoke_all(command)
            get_logger().info("key revoked", credential_ids=[str(gone) for gone in revoked.credential_ids])
            return revoked

    async def on_get_settings(self, query: GetUserSettings) -> UserSettings:
        with _of_user(query.user_id):
            return await self.settings(query)

    async def on_change_settings(self, command: ChangeUserSettings) -> UserSettings:
        with _of_user(command.user_id):
            decided = await self.change_settings(command)
            get_logger().info("consent decided", consent_id=decided.consent_id)
            return decided

    async def on_get_status(self, query: GetKeyStatus) -> KeyStatus:
        with _of_user(query.user_id):
            return await self.status(query)

    async def on_rewrap_keys(self, command: RewrapKeys) -> KeysRewrapped:
        done = await self.rewrap(command)
        get_logger().info(
            "keys rewrapped", rewrapped=done.rewrapped, remaining=done.remaining, version=done.key_version
        )
        return done

    async def on_issue_session(self, command: IssueSessionKey) -> SessionKeyIssued:
        with _of_user(command.user_id):
            issued = await self.issue_session(command)
            get_logger().info(
                "session key issued", key_service=issued.service, expires_at=issued.expires_at.isoformat()
            )
            return issued

    async def on_open_key(self, query: OpenKey) -> KeyOpened:
        with _of_user(query.user_id):
            opened = await self.open_key(query)
            get_logger().info(
                "key opened to be validated",
                validation_id=str(query.validation_id),
                key_service=opened.service,
                credential_id=str(query.credential_id) if query.credential_id else None,
            )
            return opened

    async def on_list_platform_keys(self, query: ListPlatformKeys) -> PlatformKeys:
        return await self.platform_keys(query)

    async def on_mend_platform_key(self, command: MendPlatformKey) -> PlatformKeyInfo:
        mended = await self.mend(command)
        get_logger().info("platform key mended", credential_id=mended.credential_id)
        return mended


@contextmanager
def _of_user(user_id: str, **also: object) -> Iterator[None]:
    """Log by the user's id, which is checked: nobody has keys. Raises InvalidRequestError."""
    check_user_id(user_id)
    with bound(user_id=user_id, **also):
        yield
