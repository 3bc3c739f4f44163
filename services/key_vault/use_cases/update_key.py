"""Change what is not the key: label, order, status."""

from services.key_vault.domain.credentials import CredentialChange
from services.key_vault.domain.entry import check_label
from services.key_vault.ports import CredentialStore, KeyNews
from services.key_vault.use_cases.describe import describe, key_stored
from shared.contracts.keys import Credential, UpdateKey
from shared.kernel.errors import NotFoundError


class UpdateKeyUseCase:
    def __init__(self, *, store: CredentialStore, news: KeyNews) -> None:
        self._store = store
        self._news = news

    async def __call__(self, command: UpdateKey) -> Credential:
        check_label(command.label)
        change = CredentialChange(command.label, command.position, command.status, command.status_of_version)
        stored = await self._store.update(command.user_id, command.credential_id, change)
        if stored is None:
            raise NotFoundError("no such key")
        await self._news.tell(key_stored(stored))
        return describe(stored)
