"""Store, consent and cipher with a memory before them. What they write, they make it forget."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from services.key_vault.adapters.memory import KeyMemory
from services.key_vault.domain.credentials import (
    Ciphertext,
    Consent,
    CredentialChange,
    CredentialUse,
    NewCredential,
    OwnKeys,
    Place,
    StoredCredential,
)
from services.key_vault.ports import Cipher, ConsentStore, CredentialStore
from shared.kernel.errors import InternalError, UserApiKeyInvalidError
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText
from shared.runtime.logs import get_logger

Confirm = Callable[[], Awaitable[None]]
"""Turns the memory off when it may not be used any more."""

_ALL_SERVICES: Final = tuple(KeyService)


class RememberingStore:
    """See `CredentialStore`. Only `own_keys` may be answered from memory."""

    def __init__(self, store: CredentialStore, memory: KeyMemory) -> None:
        self._store = store
        self._memory = memory

    async def own_keys(self, user_id: str, services: Collection[KeyService]) -> OwnKeys:
        own = self._memory.own(user_id)
        if own is None:
            load = self._memory.begin(user_id)
            own = await self._store.own_keys(user_id, _ALL_SERVICES)
            self._memory.remember(load, own)
        asked = tuple(one for one in own.credentials if one.place.service in services)
        return OwnKeys(asked, own.consent)

    async def add(self, new: NewCredential) -> StoredCredential:
        async with _changing(self._memory, new.place.user_id):
            return await self._store.add(new)

    async def replace(self, new: NewCredential) -> StoredCredential | None:
        async with _changing(self._memory, new.place.user_id):
            return await self._store.replace(new)

    async def update(
        self, user_id: str, credential_id: UUID, change: CredentialChange
    ) -> StoredCredential | None:
        async with _changing(self._memory, user_id):
            return await self._store.update(user_id, credential_id, change)

    async def remove(self, user_id: str, credential_id: UUID) -> bool:
        async with _changing(self._memory, user_id):
            return await self._store.remove(user_id, credential_id)

    async def remove_all(self, user_id: str, service: KeyService | None) -> tuple[UUID, ...]:
        async with _changing(self._memory, user_id):
            return await self._store.remove_all(user_id, service)

    async def rewrap(self, rewrapped: Sequence[tuple[StoredCredential, Ciphertext]]) -> int:
        users = {old.place.user_id for old, _ in rewrapped}
        async with _changing(self._memory, *users):
            return await self._store.rewrap(rewrapped)

    async def all_of(self, user_id: str) -> tuple[StoredCredential, ...]:
        return await self._store.all_of(user_id)

    async def find(self, user_id: str, credential_id: UUID) -> StoredCredential | None:
        return await self._store.find(user_id, credential_id)

    async def note_uses(self, uses: Sequence[CredentialUse]) -> None:
        """What a run found changes neither which keys are tried nor their order: it is remembered on."""
        await self._store.note_uses(uses)

    async def encrypted_before(self, key_version: int, limit: int) -> tuple[StoredCredential, ...]:
        return await self._store.encrypted_before(key_version, limit)

    async def count_before(self, key_version: int) -> int:
        return await self._store.count_before(key_version)


class RememberingConsents:
    """See `ConsentStore`."""

    def __init__(self, consents: ConsentStore, memory: KeyMemory) -> None:
        self._consents = consents
        self._memory = memory

    async def consent(self, user_id: str) -> Consent:
        return await self._consents.consent(user_id)

    async def decide(
        self, user_id: str, *, allow_platform: bool | None, allow_gateway: bool | None
    ) -> Consent:
        async with _changing(self._memory, user_id):
            return await self._consents.decide(
                user_id, allow_platform=allow_platform, allow_gateway=allow_gateway
            )


class RememberingCipher:
    """See `Cipher`. Only `decrypt` may be answered from memory, after `confirm` saw that Vault is open."""

    def __init__(self, cipher: Cipher, store: CredentialStore, memory: KeyMemory, confirm: Confirm) -> None:
        self._cipher = cipher
        self._store = store
        self._memory = memory
        self._confirm = confirm

    async def decrypt(self, ciphertext: str, place: Place) -> SecretText:
        if self._memory.key(ciphertext, place):
            await self._confirm()
            if known := self._memory.key(ciphertext, place):  # still, after the look
                return known
        load = self._memory.begin(place.user_id)
        try:
            key = await self._cipher.decrypt(ciphertext, place)
        except InternalError:
            return await self._rewrapped_meanwhile(ciphertext, place)
        if self._memory.is_overtaken(load):
            await self._check_not_revoked(place)
        self._memory.remember_key(load, ciphertext, place, key)
        return key

    async def _check_not_revoked(self, place: Place) -> None:
        """However long Vault took: no worker is handed a key after it was told of its revocation."""
        if await self._store.find(place.user_id, place.credential_id) is None:
            raise UserApiKeyInvalidError("the key was revoked", service=place.service, detail="revoked")

    async def _rewrapped_meanwhile(self, ciphertext: str, place: Place) -> SecretText:
        """Another replica rewrapped what is remembered here, and Vault refuses the old ciphertext already."""
        self._memory.forget(place.user_id)
        stored = await self._store.find(place.user_id, place.credential_id)
        if stored is None or stored.place != place or stored.ciphertext == ciphertext:
            get_logger().error("a stored credential does not decrypt", credential_id=str(place.credential_id))
            raise InternalError("a stored credential does not decrypt")
        return await self._cipher.decrypt(stored.ciphertext, place)

    async def encrypt(self, key: SecretText, place: Place) -> Ciphertext:
        return await self._cipher.encrypt(key, place)

    async def fingerprint(self, key: SecretText, place: Place) -> str:
        return await self._cipher.fingerprint(key, place)

    async def latest_version(self) -> int:
        return await self._cipher.latest_version()

    async def rewrap(self, stored: Sequence[StoredCredential]) -> list[Ciphertext | None]:
        return await self._cipher.rewrap(stored)


@asynccontextmanager
async def _changing(memory: KeyMemory, *users: str) -> AsyncIterator[None]:
    """Forget the users afterwards, and if it failed too: it may have happened all the same."""
    try:
        yield
    finally:
        for user_id in users:
            memory.forget(user_id)
