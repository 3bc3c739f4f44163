"""Messages of key_vault about users' keys. A key travels only as `SealedKey`."""

from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, Field

from shared.contracts.answer import Answer
from shared.contracts.rpc import Request
from shared.contracts.sealed import SealedKey
from shared.kernel.lengths import LABEL_CHARS_MAX
from shared.kernel.names import (
    CredentialStatus,
    KeyService,
)

POSITION_MAX: Final = 1_000_000


class StoreKey(Request):
    """Stores a key sealed to key_vault (binding purpose `store`). Idempotent by `credential_id`.

    `status`: what its provider said of it at entry.
    """

    ROUTING_KEY = "key_vault.store.v1"

    credential_id: UUID
    user_id: str
    service: KeyService
    sealed: SealedKey
    label: str | None = Field(default=None, max_length=LABEL_CHARS_MAX)
    base_url: str | None = None
    status: CredentialStatus = CredentialStatus.ACTIVE


class ReplaceKey(Request):
    """Puts another key in a credential's place (binding purpose `store`): its version goes up by one.

    One that its owner took out stays out, whatever `status` says: only they put it back. Runs that hold the
    old key go on with it. Raises `not_found`, `invalid_request` for another service's.
    """

    ROUTING_KEY = "key_vault.replace.v1"

    credential_id: UUID
    user_id: str
    service: KeyService
    sealed: SealedKey
    base_url: str | None = None
    status: CredentialStatus = CredentialStatus.ACTIVE


class UpdateKey(Request):
    """Changes what is not None. `label` "" removes it. Raises `not_found`.

    `status_of_version`: the status is what a provider said of the credential's key of this version. It says
    nothing of a later one, and puts back none that its owner took out meanwhile. None: the owner's own word.
    """

    ROUTING_KEY = "key_vault.update.v1"

    credential_id: UUID
    user_id: str
    label: str | None = Field(default=None, max_length=LABEL_CHARS_MAX)
    position: int | None = Field(default=None, ge=0, le=POSITION_MAX)
    """Of two keys for one service, the lower is tried first; of equals, the newer."""
    status: CredentialStatus | None = None
    status_of_version: int | None = None


class Credential(Answer):
    """What people may know of a stored key. `hint` shows its ends only.

    `last_used_at`: when a run last succeeded with it.
    """

    id: UUID
    service: KeyService
    hint: str
    label: str | None
    base_url: str | None
    status: CredentialStatus
    created_at: AwareDatetime
    version: int = 1
    position: int = 0
    status_changed_at: AwareDatetime | None = None
    last_used_at: AwareDatetime | None = None
    updated_at: AwareDatetime | None = None


class ListKeys(Request):
    """A user's stored keys. Answered with `Credentials`."""

    ROUTING_KEY = "key_vault.list.v1"

    user_id: str


class Credentials(Answer):
    """By service, in the order they are tried."""

    items: tuple[Credential, ...]


class RevokeKey(Request):
    """Destroys a credential. Raises `not_found` for another user's or an unknown one."""

    ROUTING_KEY = "key_vault.revoke.v1"

    user_id: str
    credential_id: UUID


class RevokeKeys(Request):
    """Destroys all of a user's credentials, or those for one service. None is no error."""

    ROUTING_KEY = "key_vault.revoke_all.v1"

    user_id: str
    service: KeyService | None = None


class KeysRevoked(Answer):
    credential_ids: tuple[UUID, ...]


class IssueSessionKey(Request):
    """Turns a key sealed to key_vault (binding purpose `session`) into a token; nothing is stored."""

    ROUTING_KEY = "key_vault.issue_session.v1"

    user_id: str
    service: KeyService
    sealed: SealedKey
    base_url: str | None = None


class SessionKeyIssued(Answer):
    """`session_key` (`lks_…`) is ciphertext, good for this user until `expires_at`."""

    session_key: str
    service: KeyService
    hint: str
    base_url: str | None
    expires_at: AwareDatetime


class GetKeyStatus(Request):
    """Asks which keys there are for each service, of the user's and of the platform's."""

    ROUTING_KEY = "key_vault.status.v1"

    user_id: str


class ServiceKeys(Answer):
    """`has_*_key`: one that could be used now."""

    service: KeyService
    has_user_key: bool
    has_platform_key: bool
    user_statuses: tuple[CredentialStatus, ...] = ()


class KeyStatus(Answer):
    """`cache_age_s`: of what is remembered of this user's keys; None when nothing is. `cache_size`: users
    remembered.
    """

    services: tuple[ServiceKeys, ...]
    allow_platform_fallback: bool
    allow_gateway_fallback: bool
    cache_age_s: float | None
    cache_size: int

    def lends(self, service: KeyService) -> bool:
        """Return whether the user consents to the platform's key for this; the gateway's is the team's."""
        return self.allow_gateway_fallback if service is KeyService.GATEWAY else self.allow_platform_fallback


class RewrapKeys(Request):
    """Encrypts up to `limit` credentials anew with the latest version of the master key."""

    ROUTING_KEY = "key_vault.rewrap.v1"

    limit: int = Field(default=200, ge=1, le=1_000)


class KeysRewrapped(Answer):
    """`remaining`: credentials under an older version. Repeat until it is 0.

    None rewrapped with some remaining: those do not decrypt, key_vault's log names them.
    """

    rewrapped: int
    remaining: int
    key_version: int
