"""Encrypt credentials anew with the latest master key, some at a time, while runs go on."""

from services.key_vault.ports import Cipher, CredentialStore
from shared.contracts.keys import KeysRewrapped, RewrapKeys


class RewrapKeysUseCase:
    def __init__(self, *, store: CredentialStore, cipher: Cipher) -> None:
        self._store = store
        self._cipher = cipher

    async def __call__(self, command: RewrapKeys) -> KeysRewrapped:
        version = await self._cipher.latest_version()
        stored = await self._store.encrypted_before(version, command.limit)
        fresh = await self._cipher.rewrap(stored) if stored else []
        pairs = [(old, new) for old, new in zip(stored, fresh, strict=True) if new is not None]
        return KeysRewrapped(
            rewrapped=await self._store.rewrap(pairs),
            remaining=await self._store.count_before(version),
            key_version=version,
        )
