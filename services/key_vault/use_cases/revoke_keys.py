"""Revoke all of a user's credentials, or those for one service: their rows are destroyed."""

from uuid import UUID

from services.key_vault.ports import CredentialStore, KeyEvents
from services.key_vault.use_cases.revoking import tell_revoked
from shared.contracts.keys import KeysRevoked, RevokeKeys


class RevokeKeysUseCase:
    def __init__(self, *, store: CredentialStore, key_events: KeyEvents) -> None:
        self._store = store
        self._key_events = key_events

    async def __call__(self, command: RevokeKeys) -> KeysRevoked:
        before = await self._ids(command.user_id)
        try:
            gone = await self._store.remove_all(command.user_id, command.service)
        except BaseException:  # those that are gone all the same, of which only the answer was lost
            await self._tell(command, before - await self._ids(command.user_id))
            raise
        await self._tell(command, set(gone))
        return KeysRevoked(credential_ids=gone)

    async def _ids(self, user_id: str) -> set[UUID]:
        return {stored.place.credential_id for stored in await self._store.all_of(user_id)}

    async def _tell(self, command: RevokeKeys, credential_ids: set[UUID]) -> None:
        await tell_revoked(self._key_events, command.user_id, credential_ids)
