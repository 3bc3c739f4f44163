"""Messages of inference about a key's validity: it alone may ask a provider."""

from uuid import UUID

from shared.contracts.answer import Answer
from shared.contracts.rpc import Request
from shared.contracts.sealed import SealedKey
from shared.kernel.names import KeyService, KeyVerdict


class ValidateKey(Request):
    """Asks the provider about a key just entered (sealed to key_vault, binding purpose `validate`, `run_id` =
    `validation_id`) or a stored one. Raises `invalid_request` for an address that may not be called.
    """

    ROUTING_KEY = "inference.validate_key.v1"

    validation_id: UUID
    user_id: str
    service: KeyService
    sealed: SealedKey | None = None
    base_url: str | None = None
    credential_id: UUID | None = None


class KeyValidated(Answer):
    verdict: KeyVerdict
