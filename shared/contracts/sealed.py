"""A key as it travels: sealed (HPKE, RFC 9180), bound to one use."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.kernel.names import (
    KeyService,
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
