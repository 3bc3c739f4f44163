"""key_vault and the validating inference, as the edge meets them, in memory."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.contracts.consent import ChangeUserSettings, UserSettings
from shared.contracts.keys import (
    Credential,
    Credentials,
    IssueSessionKey,
    KeysRewrapped,
    KeyStatus,
    ReplaceKey,
    RevokeKeys,
    ServiceKeys,
    SessionKeyIssued,
    StoreKey,
    UpdateKey,
)
from shared.contracts.message import Message
from shared.contracts.platform_keys import PlatformKeyInfo, PlatformKeys
from shared.contracts.validation import ValidateKey
from shared.kernel.errors import NotFoundError, PlatformError
from shared.kernel.names import CredentialStatus, KeyService, KeyVerdict, PlatformKeyState
from tests.envelopes import event_body

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


class _Part:
    """`error` makes every call fail; what cannot travel fails here as on the real bus."""

    def __init__(self) -> None:
        self.error: PlatformError | None = None

    def _asked(self, message: Message | None = None) -> None:
        if self.error:
            raise self.error
        if message is not None:
            event_body(message, source="api_edge")


class InMemoryKeyVault(_Part):
    """Keys by owner. Equal keys are told by their ciphertext: the fake sealer makes it of the key alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[StoreKey] = []
        self.replaced: list[ReplaceKey] = []
        self.updated: list[UpdateKey] = []
        self.sessions: list[IssueSessionKey] = []
        self.consents: dict[str, UserSettings] = {}
        self.platform_services: tuple[KeyService, ...] = ()
        self.cache_age_s: float | None = None
        self._keys: dict[UUID, tuple[str, str, Credential]] = {}

    async def store(self, command: StoreKey) -> Credential:
        self._asked(command)
        self.stored.append(command)
        for owner, ciphertext, credential in self._keys.values():
            if (owner, ciphertext) == (command.user_id, command.sealed.ciphertext):
                return self._keep(owner, ciphertext, self._changed(credential, status=command.status))
        credential = Credential(
            id=command.credential_id,
            service=command.service,
            hint="sk-…1f9c",
            label=command.label,
            base_url=command.base_url,
            status=command.status,
            created_at=NOON,
            updated_at=NOON,
        )
        return self._keep(command.user_id, command.sealed.ciphertext, credential)

    async def replace(self, command: ReplaceKey) -> Credential:
        self._asked(command)
        _, _, found = self._own(command.user_id, command.credential_id)
        self.replaced.append(command)
        is_out = found.status is CredentialStatus.INACTIVE
        status = found.status if is_out else command.status
        return self._keep(
            command.user_id,
            command.sealed.ciphertext,
            self._changed(found, base_url=command.base_url, status=status, version=found.version + 1),
        )

    async def update(self, command: UpdateKey) -> Credential:
        self._asked(command)
        owner, ciphertext, found = self._own(command.user_id, command.credential_id)
        self.updated.append(command)
        given = command.model_dump(include={"label", "position", "status"}, exclude_none=True)
        if "label" in given:
            given["label"] = given["label"] or None
        is_out = found.status is CredentialStatus.INACTIVE
        if command.status_of_version is not None and (is_out or command.status_of_version != found.version):
            given.pop("status", None)
        return self._keep(owner, ciphertext, self._changed(found, **given))

    async def list(self, user_id: str) -> Credentials:
        self._asked()
        own = [credential for owner, _, credential in reversed(self._keys.values()) if owner == user_id]
        return Credentials(items=tuple(sorted(own, key=lambda key: (key.service, key.position))))

    async def revoke(self, user_id: str, credential_id: UUID) -> None:
        self._asked()
        self._own(user_id, credential_id)
        del self._keys[credential_id]

    async def revoke_all(self, command: RevokeKeys) -> tuple[UUID, ...]:
        self._asked(command)
        gone = tuple(
            id_
            for id_, (owner, _, credential) in self._keys.items()
            if owner == command.user_id and command.service in (None, credential.service)
        )
        for id_ in gone:
            del self._keys[id_]
        return gone

    async def issue_session(self, command: IssueSessionKey) -> SessionKeyIssued:
        self._asked(command)
        self.sessions.append(command)
        return SessionKeyIssued(
            session_key="lks_0123456789abcdef",
            service=command.service,
            hint="sk-…1f9c",
            base_url=command.base_url,
            expires_at=LATER,
        )

    async def settings(self, user_id: str) -> UserSettings:
        self._asked()
        default = UserSettings(
            allow_platform_fallback=True, allow_gateway_fallback=False, consent_id="default", decided_at=None
        )
        return self.consents.get(user_id, default)

    async def change_settings(self, command: ChangeUserSettings) -> UserSettings:
        self._asked(command)
        given = command.model_dump(exclude={"user_id"}, exclude_none=True)
        decided = {"consent_id": f"consent-{len(self.consents) + 1}", "decided_at": NOON}
        before = await self.settings(command.user_id)
        self.consents[command.user_id] = before.model_copy(update={**given, **decided})
        return self.consents[command.user_id]

    async def status(self, user_id: str) -> KeyStatus:
        self._asked()
        consent, own = await self.settings(user_id), (await self.list(user_id)).items
        statuses = {s: tuple(key.status for key in own if key.service is s) for s in KeyService}
        return KeyStatus(
            services=tuple(
                ServiceKeys(
                    service=service,
                    has_user_key=any(status is not CredentialStatus.INACTIVE for status in found),
                    has_platform_key=service in self.platform_services,
                    user_statuses=found,
                )
                for service, found in statuses.items()
            ),
            allow_platform_fallback=consent.allow_platform_fallback,
            allow_gateway_fallback=consent.allow_gateway_fallback,
            cache_age_s=self.cache_age_s,
            cache_size=3,
        )

    def mark(self, status: CredentialStatus) -> None:
        """Let every key stand so, as after runs with it."""
        for owner, ciphertext, credential in tuple(self._keys.values()):
            self._keep(owner, ciphertext, credential.model_copy(update={"status": status}))

    def _own(self, user_id: str, credential_id: UUID) -> tuple[str, str, Credential]:
        found = self._keys.get(credential_id)
        if found is None or found[0] != user_id:
            raise NotFoundError("no such key")
        return found

    def _keep(self, user_id: str, ciphertext: str, credential: Credential) -> Credential:
        self._keys[credential.id] = (user_id, ciphertext, credential)
        return credential

    def _changed(self, found: Credential, **given: Any) -> Credential:
        has_turned = given.get("status", found.status) != found.status
        moved = {"status_changed_at": LATER} if has_turned else {}
        return found.model_copy(update={**given, **moved, "updated_at": LATER})


class InMemoryKeyAdministration(_Part):
    """Administers the keys of a vault, and two platform keys of its own."""

    def __init__(self, key_vault: InMemoryKeyVault) -> None:
        super().__init__()
        self.key_vault = key_vault
        self.rewrapped: list[int] = []
        self.keys = {
            "platform:openai:0123456789ab": PlatformKeyInfo(
                credential_id="platform:openai:0123456789ab",
                service=KeyService.OPENAI,
                hint="sk-…1f9c",
                state=PlatformKeyState.READY,
            ),
            "platform:openrouter:ba9876543210": PlatformKeyInfo(
                credential_id="platform:openrouter:ba9876543210",
                service=KeyService.OPENROUTER,
                hint="sk-…aaaa",
                state=PlatformKeyState.OUT,
                reason="system_key_exhausted",
                changed_at=NOON,
            ),
        }

    async def platform_keys(self) -> PlatformKeys:
        self._asked()
        return PlatformKeys(items=tuple(self.keys.values()))

    async def mend_platform_key(self, credential_id: str) -> PlatformKeyInfo:
        self._asked()
        if credential_id not in self.keys:
            raise NotFoundError("no such platform key")
        mended = {"state": PlatformKeyState.READY, "reason": None, "changed_at": LATER}
        self.keys[credential_id] = self.keys[credential_id].model_copy(update=mended)
        return self.keys[credential_id]

    async def revoke_all(self, command: RevokeKeys) -> tuple[UUID, ...]:
        self._asked(command)
        return await self.key_vault.revoke_all(command)

    async def rewrap(self, limit: int) -> KeysRewrapped:
        self._asked()
        self.rewrapped.append(limit)
        return KeysRewrapped(rewrapped=2, remaining=7, key_version=3)


class InMemoryKeyValidator(_Part):
    """`verdict` is what it says of every key; `meanwhile` happens while it asks."""

    def __init__(self) -> None:
        super().__init__()
        self.verdict = KeyVerdict.VALID
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self.asked: list[ValidateKey] = []

    async def validate(self, command: ValidateKey) -> KeyVerdict:
        self._asked(command)
        self.asked.append(command)
        if self.meanwhile is not None:
            await self.meanwhile()
        return self.verdict
