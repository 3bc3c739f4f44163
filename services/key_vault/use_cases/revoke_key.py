"""Revoke a credential: its row is destroyed."""

from services.key_vault.ports import CredentialStore, KeyEvents
from shared.contracts.key_events import KeyRevoked
from shared.contracts.keys import KeysRevoked, RevokeKey
from shared.kernel.errors import NotFoundError


class RevokeKeyUseCase:
    def __init__(self, *, store: CredentialStore, key_events: KeyEvents) -> None:
        self._store = store
        self._key_events = key_events

    async def __call__(self, command: RevokeKey) -> KeysRevoked:
        if not await self._store.remove(command.user_id, command.credential_id):
            raise NotFoundError("no such key")
        await self._key_events.tell(KeyRevoked(user_id=command.user_id, credential_id=command.credential_id))
        return KeysRevoked(credential_ids=(command.credential_id,))
