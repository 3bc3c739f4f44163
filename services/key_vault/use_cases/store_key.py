"""Store a key: open, check, fingerprint and encrypt, keep the ciphertext."""

import asyncio

from services.key_vault.domain.credentials import NewCredential, Place
from services.key_vault.domain.entry import check_base_url, check_key, check_label
from services.key_vault.ports import Cipher, CredentialStore, Guarding, Sealer
from services.key_vault.use_cases.describe import describe
from shared.contracts.keys import Credential, SealBinding, StoreKey
from shared.kernel.secret import SecretText


class StoreKeyUseCase:
    def __init__(self, *, sealer: Sealer, cipher: Cipher, store: CredentialStore, guarding: Guarding) -> None:
        self._sealer = sealer
        self._cipher = cipher
        self._store = store
        self._guarding = guarding

    async def __call__(self, command: StoreKey) -> Credential:
        check_label(command.label)
        check_base_url(command.service, command.base_url)
        key = self._sealer.open(command.sealed, _binding(command))
        with self._guarding(key):
            check_key(key)
            return describe(await self._store.add(await self._encrypted(key, command)))

    async def _encrypted(self, key: SecretText, command: StoreKey) -> NewCredential:
        place = Place(command.user_id, command.credential_id, command.service, command.base_url)
        ciphertext, fingerprint = await asyncio.gather(
            self._cipher.encrypt(key, place), self._cipher.fingerprint(key, place)
        )
        return NewCredential(place, ciphertext, fingerprint, key.hint(), command.label)


def _binding(command: StoreKey) -> SealBinding:
    return SealBinding(
        purpose="store",
        user_id=command.user_id,
        service=command.service,
        expires_at=command.sealed.expires_at,
        credential_id=str(command.credential_id),
        base_url=command.base_url,
    )
