"""What key_vault keeps: a credential's ciphertext and what people may know of it, never the key."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.kernel.names import KeyService

CREDENTIALS_PER_USER_MAX: Final = 100
"""Keeps what one resolve reads bounded, whatever a user stores."""


@dataclass(frozen=True)
class Place:
    """What a ciphertext is bound to: it decrypts for no other user, credential, service or address."""

    user_id: str
    credential_id: UUID
    service: KeyService
    base_url: str | None


@dataclass(frozen=True)
class Ciphertext:
    """Transit ciphertext and the version of the Transit key that made it."""

    text: str
    key_version: int


@dataclass(frozen=True)
class NewCredential:
    """`fingerprint` tells a user's equal keys; `hint` is what people see of the key."""

    place: Place
    ciphertext: Ciphertext
    fingerprint: str
    hint: str
    label: str | None


@dataclass(frozen=True)
class StoredCredential:
    place: Place
    ciphertext: str
    hint: str
    label: str | None
    created_at: datetime

    @property
    def credential_id(self) -> str:
        return str(self.place.credential_id)


@dataclass(frozen=True)
class Consent:
    """The user's leave to fall back to the platform; the id says which decision it was."""

    allowed: bool
    consent_id: str


DEFAULT_CONSENT: Final = Consent(allowed=True, consent_id="default")
"""Of a user who never decided."""


@dataclass(frozen=True)
class OwnKeys:
    """What a user has for one request: credentials newest first, and the consent to do without them."""

    credentials: tuple[StoredCredential, ...]
    consent: Consent
