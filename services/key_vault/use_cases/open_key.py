"""Hand a worker a key that is to be validated: one just entered, or a stored one of that user."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.key_vault.domain.entry import check_base_url, check_key
from services.key_vault.ports import Cipher, Clock, CredentialStore, Guarding, Sealer
from shared.contracts.resolving import KeyOpened, OpenKey
from shared.contracts.sealed import SEALED_FOR, SealBinding, SealedKey
from shared.kernel.errors import InvalidRequestError, NotFoundError
from shared.kernel.secret import SecretText


@dataclass(frozen=True)
class _Opened:
    key: SecretText
    base_url: str | None


class OpenKeyUseCase:
    def __init__(
        self, *, sealer: Sealer, cipher: Cipher, store: CredentialStore, guarding: Guarding, now: Clock
    ) -> None:
        self._sealer = sealer
        self._cipher = cipher
        self._store = store
        self._guarding = guarding
        self._now = now

    async def __call__(self, query: OpenKey) -> KeyOpened:
        opened = await self._open(query)
        with self._guarding(opened.key):
            return self._sealed(opened, query)

    async def _open(self, query: OpenKey) -> _Opened:
        if query.sealed is not None:
            return self._entered(query.sealed, query)
        if query.credential_id is not None:
            return await self._stored(query.credential_id, query)
        raise InvalidRequestError("neither a key nor a credential's id")

    def _entered(self, sealed: SealedKey, query: OpenKey) -> _Opened:
        check_base_url(query.service, query.base_url)
        key = self._sealer.open(sealed, _entered_binding(query, sealed.expires_at))
        check_key(key)
        return _Opened(key, query.base_url)

    async def _stored(self, credential_id: UUID, query: OpenKey) -> _Opened:
        """Its own address counts, not the one asked for."""
        stored = await self._store.find(query.user_id, credential_id)
        if stored is None or stored.place.service is not query.service:
            raise NotFoundError("no such key")
        key = await self._cipher.decrypt(stored.ciphertext, stored.place)
        return _Opened(key, stored.place.base_url)

    def _sealed(self, opened: _Opened, query: OpenKey) -> KeyOpened:
        binding = query.answer_binding(
            service=query.service, base_url=opened.base_url, expires_at=self._now() + SEALED_FOR
        )
        sealed = self._sealer.seal(opened.key, query.worker_public_key, binding)
        return KeyOpened(service=query.service, sealed=sealed, base_url=opened.base_url)


def _entered_binding(query: OpenKey, expires_at: datetime) -> SealBinding:
    return SealBinding(
        purpose="validate",
        run_id=query.validation_id,
        user_id=query.user_id,
        service=query.service,
        base_url=query.base_url,
        expires_at=expires_at,
    )
