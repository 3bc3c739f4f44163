"""Revoke a credential: its row is destroyed."""

from services.key_vault.ports import CredentialStore, KeyEvents
from services.key_vault.use_cases.revoking import tell_revoked
from shared.contracts.keys import KeysRevoked, RevokeKey
from shared.kernel.errors import NotFoundError


class RevokeKeyUseCase:
    def __init__(self, *, store: CredentialStore, key_events: KeyEvents) -> None:
        self._store = store
        self._key_events = key_events

    async def __call__(self, command: RevokeKey) -> KeysRevoked:
        """Raise NotFoundError for a key that is not the user's."""
        user_id, credential_id = command.user_id, command.credential_id
        if await self._store.find(user_id, credential_id) is None:
            raise NotFoundError("no such key")
        try:
            await self._store.remove(user_id, credential_id)
        except BaseException:
            if await self._store.find(user_id, credential_id) is None:  # only its answer was lost
                await tell_revoked(self._key_events, user_id, [credential_id])
            raise
        await tell_revoked(self._key_events, user_id, [credential_id])
        return KeysRevoked(credential_ids=(credential_id,))
