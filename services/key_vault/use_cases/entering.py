"""A key as it comes in: opened, checked, fingerprinted, encrypted for its place."""

import asyncio

from services.key_vault.domain.credentials import NewCredential, Place, StoredCredential
from services.key_vault.domain.entry import check_key
from services.key_vault.ports import Cipher, CredentialStore, Guarding, Sealer
from shared.contracts.keys import ReplaceKey, StoreKey
from shared.contracts.sealed import SealBinding
from shared.kernel.secret import SecretText


class Entering:
    def __init__(self, *, sealer: Sealer, cipher: Cipher, store: CredentialStore, guarding: Guarding) -> None:
        self._sealer = sealer
        self._cipher = cipher
        self._store = store
        self._guarding = guarding

    async def __call__(
        self, command: StoreKey | ReplaceKey, *, version: int, label: str | None
    ) -> NewCredential:
        """Raise `invalid_request` for what is no key, or was not sealed for this command."""
        key = self._sealer.open(command.sealed, _binding(command))
        with self._guarding(key):
            check_key(key)
            return await self._encrypted(key, command, version, label)

    async def keep_up(
        self, command: StoreKey | ReplaceKey, new: NewCredential, stored: StoredCredential
    ) -> None:
        """Encrypt anew what a rotation of the master key has overtaken on its way into the store.

        A rewrap that ended before it was there has not seen it, and says that none remain.
        """
        if stored.ciphertext != new.ciphertext.text:
            return
        if await self._cipher.latest_version() > new.ciphertext.key_version:
            fresh = await self(command, version=new.place.version, label=new.label)
            await self._store.rewrap([(stored, fresh.ciphertext)])

    async def _encrypted(
        self, key: SecretText, command: StoreKey | ReplaceKey, version: int, label: str | None
    ) -> NewCredential:
        place = Place(command.user_id, command.credential_id, command.service, command.base_url, version)
        ciphertext, fingerprint = await asyncio.gather(
            self._cipher.encrypt(key, place), self._cipher.fingerprint(key, place)
        )
        return NewCredential(place, ciphertext, fingerprint, key.hint(), label, command.status)


def _binding(command: StoreKey | ReplaceKey) -> SealBinding:
    return SealBinding(
        purpose="store",
        user_id=command.user_id,
        service=command.service,
        expires_at=command.sealed.expires_at,
        credential_id=str(command.credential_id),
        base_url=command.base_url,
    )
