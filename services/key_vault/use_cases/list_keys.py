"""List a user's credentials."""

from services.key_vault.ports import CredentialStore
from services.key_vault.use_cases.describe import describe
from shared.contracts.keys import Credentials, ListKeys


class ListKeysUseCase:
    def __init__(self, *, store: CredentialStore) -> None:
        self._store = store

    async def __call__(self, query: ListKeys) -> Credentials:
        stored = await self._store.all_of(query.user_id)
        return Credentials(items=tuple(describe(credential) for credential in stored))
