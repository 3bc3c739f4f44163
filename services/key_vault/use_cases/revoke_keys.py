"""Revoke all of a user's credentials, or those for one service: their rows are destroyed."""

import asyncio

from services.key_vault.ports import CredentialStore, KeyEvents
from shared.contracts.key_events import KeyRevoked
from shared.contracts.keys import KeysRevoked, RevokeKeys


class RevokeKeysUseCase:
    def __init__(self, *, store: CredentialStore, key_events: KeyEvents) -> None:
        self._store = store
        self._key_events = key_events

    async def __call__(self, command: RevokeKeys) -> KeysRevoked:
        gone = await self._store.remove_all(command.user_id, command.service)
        events = [KeyRevoked(user_id=command.user_id, credential_id=credential_id) for credential_id in gone]
        await asyncio.gather(*map(self._key_events.tell, events))
        return KeysRevoked(credential_ids=gone)
