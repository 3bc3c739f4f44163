"""Revoke a credential: its row is destroyed."""

from services.key_vault.ports import CredentialStore
from shared.contracts.keys import KeyRevoked, RevokeKey
from shared.kernel.errors import NotFoundError


class RevokeKeyUseCase:
    def __init__(self, *, store: CredentialStore) -> None:
        self._store = store

    async def __call__(self, command: RevokeKey) -> KeyRevoked:
        if not await self._store.remove(command.user_id, command.credential_id):
            raise NotFoundError("no such key")
        return KeyRevoked(credential_id=command.credential_id)
