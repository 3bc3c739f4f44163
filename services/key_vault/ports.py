"""What key_vault needs of the world."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.key_vault.domain.credentials import (
    Ciphertext,
    Consent,
    CredentialChange,
    CredentialUse,
    NewCredential,
    OwnKeys,
    Place,
    StoredCredential,
)
from services.key_vault.domain.platform import PlatformMark, PlatformPool
from services.key_vault.domain.session import SessionClaims
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.sealed import SealBinding, SealedKey
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText

Clock = Callable[[], datetime]
Guarding = Callable[[SecretText], AbstractContextManager[None]]
"""While in the context, the secret is masked in every log line, and no exception takes it out."""


class CredentialStore(Protocol):
    """Credentials. Raises `database_unavailable`. Within a service: lower position first, then the newer."""

    async def add(self, new: NewCredential) -> StoredCredential:
        """Keep a credential; a user's equal key for the same service is the credential already there.

        Raises `conflict` when the id is taken by other contents or the user has too many credentials.
        """
        ...

    async def own_keys(self, user_id: str, services: Collection[KeyService]) -> OwnKeys:
        """Return the user's credentials for these services that are not inactive, and consent: one query."""
        ...

    async def all_of(self, user_id: str) -> tuple[StoredCredential, ...]:
        """Return the user's credentials, by service."""
        ...

    async def find(self, user_id: str, credential_id: UUID) -> StoredCredential | None: ...

    async def replace(self, new: NewCredential) -> StoredCredential | None:
        """Put another key in a credential's place, `new.place.version` being the next version.

        None when there is none of that id, service and version before. Raises `conflict` when the user has
        an equal key as another credential.
        """
        ...

    async def update(
        self, user_id: str, credential_id: UUID, change: CredentialChange
    ) -> StoredCredential | None: ...

    async def remove(self, user_id: str, credential_id: UUID) -> bool:
        """Destroy a credential; False when this user has none of that id."""
        ...

    async def remove_all(self, user_id: str, service: KeyService | None) -> tuple[UUID, ...]:
        """Destroy a user's credentials, for one service or all; return their ids."""
        ...

    async def note_uses(self, uses: Sequence[CredentialUse]) -> None:
        """Write down what runs found, in one statement; a late word does not undo a later one."""
        ...

    async def encrypted_before(self, key_version: int, limit: int) -> tuple[StoredCredential, ...]:
        """Return some credentials that an older master key encrypted."""
        ...

    async def count_before(self, key_version: int) -> int: ...

    async def rewrap(self, rewrapped: Sequence[tuple[StoredCredential, Ciphertext]]) -> int:
        """Put new ciphertexts in the place of those read; what changed meanwhile stays. Return how many."""
        ...


class ConsentStore(Protocol):
    """Raises `database_unavailable`."""

    async def consent(self, user_id: str) -> Consent: ...

    async def decide(
        self, user_id: str, *, allow_platform: bool | None, allow_gateway: bool | None
    ) -> Consent:
        """Record a new decision, None leaving that part as it was; return it."""
        ...


class PlatformMarks(Protocol):
    """Which platform keys cool down or are out, for all replicas. Raises `database_unavailable`."""

    async def marks(self) -> tuple[PlatformMark, ...]: ...

    async def mark(self, marks: Sequence[PlatformMark]) -> None:
        """Keep marks; `out` stays over a later `cooling`, and the longer cooling over the shorter."""
        ...

    async def clear(self, credential_id: str) -> bool:
        """Return False when it had no mark."""
        ...


class KeyEvents(Protocol):
    """Tells what changed. What has changed stays so, told or not: it raises nothing."""

    async def tell(self, event: KeyStored | KeyRevoked | ConsentChanged) -> None: ...


class Remembered(Protocol):
    """What this process holds in memory of users' keys."""

    def age_s(self, user_id: str) -> float | None:
        """Return how long ago this user's keys were read; None when they are not remembered."""
        ...

    def __len__(self) -> int:
        """Return how many users are remembered."""
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

    async def latest_version(self) -> int:
        """Return the version of the master key that encrypts now."""
        ...

    async def rewrap(self, stored: Sequence[StoredCredential]) -> list[Ciphertext | None]:
        """Encrypt anew, for the same places, with the latest master key; None for what does not decrypt."""
        ...


class SessionCipher(Protocol):
    """Encryption of keys that nobody stores, bound to their tokens' claims. Raises `vault_unavailable`."""

    async def encrypt(self, key: SecretText, claims: SessionClaims) -> str: ...

    async def decrypt(self, ciphertext: str, claims: SessionClaims) -> SecretText:
        """Raise `user_api_key_invalid` (detail `session_key_tampered`) when it is not of these claims."""
        ...


class PlatformKeys(Protocol):
    async def pool(self, service: KeyService) -> PlatformPool:
        """Return the platform's keys for a service, none when it has none. Raises `vault_unavailable`."""
        ...


class Sealer(Protocol):
    """HPKE with key_vault's own key pair."""

    def open(self, sealed: SealedKey, binding: SealBinding) -> SecretText:
        """Raise `invalid_request` when sealed for another use, or expired."""
        ...

    def seal(self, secret: SecretText, public_key: str, binding: SealBinding) -> SealedKey:
        """Raise `invalid_request` when the public key is none."""
        ...
