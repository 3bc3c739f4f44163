"""Messages of key_vault. A key travels only as `SealedKey` (HPKE, RFC 9180)."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.contracts.rpc import Request
from shared.kernel.names import (
    CredentialStatus,
    KeyPolicy,
    KeyService,
    KeySource,
    PlatformKeyState,
)

SEALED_FOR: Final = timedelta(seconds=30)
"""How long a sealed key can be opened."""


class SealBinding(BaseModel):
    """What a sealed key is bound to: sealed for one use, it opens for no other.

    Purposes, edge → key_vault: `store` (and replace), `request` (with a run), `session`, `validate`;
    key_vault → worker: `resolve`, `open` (`run_id` is then the validation's id).
    """

    model_config = ConfigDict(frozen=True)

    version: int = 1
    purpose: str = Field(pattern=r"^(store|request|session|validate|resolve|open)$")
    user_id: str
    service: KeyService
    expires_at: AwareDatetime
    credential_id: str | None = None
    run_id: UUID | None = None
    attempt: int | None = None
    base_url: str | None = None


class SealedKey(BaseModel):
    """`ciphertext`: base64 of HPKE enc‖ct, X25519 / HKDF-SHA256 / AES-128-GCM."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ciphertext: str = Field(max_length=16_384)
    expires_at: AwareDatetime


class RequestKey(BaseModel):
    """A key, or a session token (`lks_…`), that the client sent with the run, sealed to key_vault (binding
    purpose `request`). What a session token is for, and its address, stand in the token.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: KeyService
    sealed: SealedKey
    base_url: str | None = None


class ResolveKey(Request):
    """Asks for the key of one attempt, sealed to `worker_public_key` (base64, 32 bytes X25519)."""

    ROUTING_KEY = "key_vault.resolve.v1"

    run_id: UUID
    attempt: int = Field(ge=1)
    user_id: str
    flow: str
    policy: KeyPolicy
    provider: KeyService
    request_key: RequestKey | None = None
    session_key: RequestKey | None = None
    worker_public_key: str
    excluding: tuple[str, ...] = ()
    """Credential ids that failed earlier attempts of this run."""
    report_only: bool = False
    """The flow's policy is only reported on: what it would refuse happens, with consent, and is told."""


class KeyResolved(BaseModel):
    """One credential for one attempt. `service` says whose spelling and address to use.

    `base_url`: the caller's own address, or the team gateway's. `would_refuse_policy`: the policy that,
    enforced, would have refused this key.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    credential_id: str
    source: KeySource
    service: KeyService
    sealed: SealedKey
    base_url: str | None = None
    consent_id: str | None = None
    credential_version: int | None = None
    """Of a stored credential: which of its keys, counted from 1."""
    would_refuse_policy: KeyPolicy | None = None


class StoreKey(Request):
    """Stores a key sealed to key_vault (binding purpose `store`). Idempotent by `credential_id`.

    `status`: what its provider said of it at entry.
    """

    ROUTING_KEY = "key_vault.store.v1"

    credential_id: UUID
    user_id: str
    service: KeyService
    sealed: SealedKey
    label: str | None = Field(default=None, max_length=200)
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
    label: str | None = Field(default=None, max_length=200)
    position: int | None = Field(default=None, ge=0, le=1_000_000)
    """Of two keys for one service, the lower is tried first; of equals, the newer."""
    status: CredentialStatus | None = None
    status_of_version: int | None = None


class Credential(BaseModel):
    """What people may know of a stored key. `hint` shows its ends only.

    `last_used_at`: when a run last succeeded with it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

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
    ROUTING_KEY = "key_vault.list.v1"

    user_id: str


class Credentials(BaseModel):
    """By service, in the order they are tried."""

    model_config = ConfigDict(frozen=True, extra="ignore")

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


class KeysRevoked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    credential_ids: tuple[UUID, ...]


class IssueSessionKey(Request):
    """Turns a key sealed to key_vault (binding purpose `session`) into a token; nothing is stored."""

    ROUTING_KEY = "key_vault.issue_session.v1"

    user_id: str
    service: KeyService
    sealed: SealedKey
    base_url: str | None = None


class SessionKeyIssued(BaseModel):
    """`session_key` (`lks_…`) is ciphertext, good for this user until `expires_at`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    session_key: str
    service: KeyService
    hint: str
    base_url: str | None
    expires_at: AwareDatetime


class OpenKey(Request):
    """A worker asks for a key that is to be validated: one just entered (binding purpose `validate`) or a
    stored one. Raises `invalid_request`, `not_found`.
    """

    ROUTING_KEY = "key_vault.open.v1"

    validation_id: UUID
    user_id: str
    service: KeyService
    sealed: SealedKey | None = None
    base_url: str | None = None
    credential_id: UUID | None = None
    worker_public_key: str


class KeyOpened(BaseModel):
    """Sealed to the worker, binding purpose `open`, `run_id` = the validation's id."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: KeyService
    sealed: SealedKey
    base_url: str | None = None


class GetKeyStatus(Request):
    """Asks which keys there are for each service, of the user's and of the platform's."""

    ROUTING_KEY = "key_vault.status.v1"

    user_id: str


class ServiceKeys(BaseModel):
    """`has_*_key`: one that could be used now."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: KeyService
    has_user_key: bool
    has_platform_key: bool
    user_statuses: tuple[CredentialStatus, ...] = ()


class KeyStatus(BaseModel):
    """`cache_age_s`: of what is remembered of this user's keys; None when nothing is. `cache_size`: users
    remembered.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    services: tuple[ServiceKeys, ...]
    allow_platform_fallback: bool
    allow_gateway_fallback: bool
    cache_age_s: float | None
    cache_size: int


class ListPlatformKeys(Request):
    ROUTING_KEY = "key_vault.platform_keys.v1"


class PlatformKeyInfo(BaseModel):
    """One key of a platform pool. `until`: when its cooling ends; `reason`: the code it failed with."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    credential_id: str
    service: KeyService
    hint: str
    state: PlatformKeyState
    until: AwareDatetime | None = None
    reason: str | None = None
    changed_at: AwareDatetime | None = None


class PlatformKeys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    items: tuple[PlatformKeyInfo, ...]


class MendPlatformKey(Request):
    """Makes a platform key ready again. Raises `not_found`."""

    ROUTING_KEY = "key_vault.mend_platform_key.v1"

    credential_id: str = Field(max_length=128)


class RewrapKeys(Request):
    """Encrypts up to `limit` credentials anew with the latest version of the master key."""

    ROUTING_KEY = "key_vault.rewrap.v1"

    limit: int = Field(default=200, ge=1, le=1_000)


class KeysRewrapped(BaseModel):
    """`remaining`: credentials under an older version. Repeat until it is 0.

    None rewrapped with some remaining: those do not decrypt, key_vault's log names them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    rewrapped: int
    remaining: int
    key_version: int
