"""What key_vault keeps: a credential's ciphertext and what people may know of it, never the key."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.kernel.names import CredentialStatus, KeyService

CREDENTIALS_PER_USER_MAX: Final = 100
"""Keeps what one resolve reads bounded, whatever a user stores."""


@dataclass(frozen=True)
class Place:
    """What a ciphertext is bound to: it decrypts for no other user, credential, service or address."""

    user_id: str
    credential_id: UUID
    service: KeyService
    base_url: str | None
    version: int = 1
    """Of the credential: replaced, it goes up by one."""


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
    status: CredentialStatus = CredentialStatus.ACTIVE


@dataclass(frozen=True)
class StoredCredential:
    place: Place
    ciphertext: str
    hint: str
    label: str | None
    created_at: datetime
    position: int = 0
    status: CredentialStatus = CredentialStatus.ACTIVE
    status_changed_at: datetime | None = None
    last_used_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def credential_id(self) -> str:
        return str(self.place.credential_id)


@dataclass(frozen=True)
class CredentialChange:
    """What its owner changes; None stays. `label` "" removes it.

    With `status_of_version` the status is a provider's word, of that version's key: it stands unless the key
    was replaced or taken out meanwhile.
    """

    label: str | None = None
    position: int | None = None
    status: CredentialStatus | None = None
    status_of_version: int | None = None


@dataclass(frozen=True)
class CredentialUse:
    """What a run found of a stored key at `at`: it worked (`status` ACTIVE), or its provider refused it.

    Of a version that has been replaced since, it says nothing.
    """

    credential_id: UUID
    version: int
    status: CredentialStatus
    at: datetime


@dataclass(frozen=True)
class Consent:
    """The user's leave to fall back to the platform, and to the team's gateway. The id names the decision."""

    allow_platform: bool
    allow_gateway: bool
    consent_id: str
    decided_at: datetime | None = None


DEFAULT_CONSENT: Final = Consent(allow_platform=True, allow_gateway=False, consent_id="default")
"""Of a user who never decided."""


@dataclass(frozen=True)
class OwnKeys:
    """What a user has for one request: credentials in the order they are tried, and the consent to do
    without them.
    """

    credentials: tuple[StoredCredential, ...]
    consent: Consent
