"""What workers ask key_vault for: the key of one attempt, or one that is to be validated."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from shared.contracts.answer import Answer
from shared.contracts.rpc import Request
from shared.contracts.sealed import RequestKey, SealBinding, SealedKey
from shared.kernel.names import KeyPolicy, KeyService, KeySource


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
    further_keys: tuple[RequestKey, ...] = ()
    session_key: RequestKey | None = None
    worker_public_key: str
    excluding: tuple[str, ...] = ()
    """Credential ids that failed earlier attempts of this run."""
    report_only: bool = False
    """The flow's policy is only reported on: what it would refuse happens, with consent, and is told."""

    @property
    def request_keys(self) -> tuple[RequestKey, ...]:
        """All plain keys that came with the run, in the order in which they are tried."""
        return self.further_keys if self.request_key is None else (self.request_key, *self.further_keys)

    def answer_binding(
        self, *, credential_id: str, service: KeyService, base_url: str | None, expires_at: datetime
    ) -> SealBinding:
        """Return what the answer's key is bound to: for who seals it and who opens it."""
        return SealBinding(
            purpose="resolve",
            run_id=self.run_id,
            attempt=self.attempt,
            user_id=self.user_id,
            credential_id=credential_id,
            service=service,
            base_url=base_url,
            expires_at=expires_at,
        )


class KeyResolved(Answer):
    """One credential for one attempt. `service` says whose spelling and address to use.

    `base_url`: the caller's own address, or the team gateway's. `would_refuse_policy`: the policy that,
    enforced, would have refused this key.
    """

    credential_id: str
    source: KeySource
    service: KeyService
    sealed: SealedKey
    base_url: str | None = None
    consent_id: str | None = None
    credential_version: int | None = None
    """Of a stored credential: which of its keys, counted from 1."""
    would_refuse_policy: KeyPolicy | None = None


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

    def answer_binding(
        self, *, service: KeyService, base_url: str | None, expires_at: datetime
    ) -> SealBinding:
        """Return what the answer's key is bound to: for who seals it and who opens it."""
        return SealBinding(
            purpose="open",
            run_id=self.validation_id,
            user_id=self.user_id,
            service=service,
            base_url=base_url,
            expires_at=expires_at,
        )


class KeyOpened(Answer):
    """Sealed to the worker, binding purpose `open`, `run_id` = the validation's id."""

    service: KeyService
    sealed: SealedKey
    base_url: str | None = None
