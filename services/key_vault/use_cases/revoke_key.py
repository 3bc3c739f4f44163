"""Revoke a credential: its row is destroyed."""

from services.key_vault.ports import CredentialStore, KeyNews
from shared.contracts.key_events import KeyRevoked
from shared.contracts.keys import KeysRevoked, RevokeKey
from shared.kernel.errors import NotFoundError


class RevokeKeyUseCase:
    def __init__(self, *, store: CredentialStore, news: KeyNews) -> None:
        self._store = store
        self._news = news

    async def __call__(self, command: RevokeKey) -> KeysRevoked:
        if not await self._store.remove(command.user_id, command.credential_id):
            raise NotFoundError("no such key")
        await self._news.tell(KeyRevoked(user_id=command.user_id, credential_id=command.credential_id))
        return KeysRevoked(credential_ids=(command.credential_id,))
