"""Revoke all of a user's credentials, or those for one service: their rows are destroyed."""

from services.key_vault.ports import CredentialStore, KeyEvents
from services.key_vault.use_cases.revoking import tell_revoked
from shared.contracts.keys import KeysRevoked, RevokeKeys


class RevokeKeysUseCase:
    def __init__(self, *, store: CredentialStore, key_events: KeyEvents) -> None:
        self._store = store
        self._key_events = key_events

    async def __call__(self, command: RevokeKeys) -> KeysRevoked:
        user_id, places = command.user_id, [key.place for key in await self._store.all_of(command.user_id)]
        gone = tuple(each.credential_id for each in places if command.service in {None, each.service})
        try:
            gone = await self._store.remove_all(user_id, command.service)
        finally:  # also when its answer is lost: they may be gone, and no second try would find them
            await tell_revoked(self._key_events, user_id, gone)
        return KeysRevoked(credential_ids=gone)
