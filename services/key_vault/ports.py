"""What key_vault needs of the world."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.key_vault.domain.credentials import Ciphertext, NewCredential, OwnKeys, Place, StoredCredential
from shared.contracts.keys import SealBinding, SealedKey
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText

Clock = Callable[[], datetime]
Guarding = Callable[[SecretText], AbstractContextManager[None]]
"""While in the context, the secret is masked in every log line, and no exception takes it out."""


class CredentialStore(Protocol):
    """Credentials and consent. Raises `database_unavailable`."""

    async def add(self, new: NewCredential) -> StoredCredential:
        """Keep a credential; a user's equal key for the same service is the credential already there.

        Raises `conflict` when the id is taken by other contents or the user has too many credentials.
        """
        ...

    async def own_keys(self, user_id: str, services: Collection[KeyService]) -> OwnKeys:
        """Return the user's credentials for these services, newest first, and consent: one query."""
        ...

    async def all_of(self, user_id: str) -> tuple[StoredCredential, ...]:
        """Return the user's credentials, newest first."""
        ...

    async def remove(self, user_id: str, credential_id: UUID) -> bool:
        """Destroy a credential; False when this user has none of that id."""
        ...


class Cipher(Protocol):
    """Encryption at rest. Raises `vault_unavailable`."""

    async def encrypt(self, key: SecretText, place: Place) -> Ciphertext: ...

    async def decrypt(self, ciphertext: str, place: Place) -> SecretText:
        """Raise `internal_error` when the ciphertext was not made for this place."""
        ...

    async def fingerprint(self, key: SecretText, place: Place) -> str:
        """Return a keyed digest: equal for one user's equal key, service and base URL, else different."""
        ...


class PlatformKeys(Protocol):
    async def keys(self, service: KeyService) -> tuple[SecretText, ...]:
        """Return the platform's pool for a service, empty when it has none. Raises `vault_unavailable`."""
        ...


class Sealer(Protocol):
    """HPKE with key_vault's own key pair."""

    def open(self, sealed: SealedKey, binding: SealBinding) -> SecretText:
        """Raise `invalid_request` when sealed for another use, or expired."""
        ...

    def seal(self, secret: SecretText, public_key: str, binding: SealBinding) -> SealedKey:
        """Raise `invalid_request` when the public key is none."""
        ...
