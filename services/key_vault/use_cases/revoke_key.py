"""Revoke a credential: its row is destroyed."""

from services.key_vault.ports import CredentialStore
from shared.contracts.keys import KeysRevoked, RevokeKey
from shared.kernel.errors import NotFoundError


class RevokeKeyUseCase:
    def __init__(self, *, store: CredentialStore) -> None:
        self._store = store

    async def __call__(self, command: RevokeKey) -> KeysRevoked:
        if not await self._store.remove(command.user_id, command.credential_id):
            raise NotFoundError("no such key")
        return KeysRevoked(credential_ids=(command.credential_id,))
