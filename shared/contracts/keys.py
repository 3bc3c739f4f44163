"""Messages of key_vault. A key travels only as `SealedKey` (HPKE, RFC 9180)."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.contracts.rpc import Request
from shared.kernel.names import KeyPolicy, KeyService, KeySource

SEALED_FOR: Final = timedelta(seconds=30)
"""How long a sealed key can be opened."""


class SealBinding(BaseModel):
    """What a sealed key is bound to: sealed for one use, it opens for no other."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    purpose: str = Field(pattern=r"^(store|request|resolve)$")
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
    """A key that the client sent with the run, sealed to key_vault (binding purpose `request`)."""

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
    worker_public_key: str
    excluding: tuple[str, ...] = ()
    """Credential ids that failed earlier attempts of this run."""


class KeyResolved(BaseModel):
    """One credential for one attempt. `service` says whose spelling and address to use."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    credential_id: str
    source: KeySource
    service: KeyService
    sealed: SealedKey
    base_url: str | None = None
    consent_id: str | None = None


class StoreKey(Request):
    """Stores a key sealed to key_vault (binding purpose `store`). Idempotent by `credential_id`."""

    ROUTING_KEY = "key_vault.store.v1"

    credential_id: UUID
    user_id: str
    service: KeyService
    sealed: SealedKey
    label: str | None = Field(default=None, max_length=200)
    base_url: str | None = None


class Credential(BaseModel):
    """What people may know of a stored key. `hint` shows its ends only."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: UUID
    service: KeyService
    hint: str
    label: str | None
    base_url: str | None
    status: str
    created_at: AwareDatetime


class ListKeys(Request):
    ROUTING_KEY = "key_vault.list.v1"

    user_id: str


class Credentials(BaseModel):
    """Newest first."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    items: tuple[Credential, ...]


class RevokeKey(Request):
    """Destroys a credential. Raises `not_found` for another user's or an unknown one."""

    ROUTING_KEY = "key_vault.revoke.v1"

    user_id: str
    credential_id: UUID


class KeyRevoked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    credential_id: UUID
