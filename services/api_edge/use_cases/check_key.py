"""Ask a provider, by way of the inference service, whether a key is good."""

from uuid import UUID

from services.api_edge.domain.errors import KeyRefusedError
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.request_keys import SentKey
from services.api_edge.ports import KeyValidator, Sealer
from services.api_edge.use_cases.seal_key import seal_key
from shared.contracts.validation import ValidateKey
from shared.kernel.ids import new_id
from shared.kernel.names import KeyService, KeyVerdict

_REFUSED = (KeyVerdict.INVALID, KeyVerdict.EXPIRED)


class CheckKey:
    """Raises what inference answers, or VaultUnavailableError."""

    def __init__(self, *, sealer: Sealer, validator: KeyValidator) -> None:
        self._sealer = sealer
        self._validator = validator

    async def entered(self, caller: Caller, entered: SentKey) -> KeyVerdict:
        """Return the verdict. Raises KeyRefusedError for a key that its provider does not take."""
        verdict = await self._validator.validate(self._command(caller, entered))
        return accepted(verdict, entered.service)

    async def stored(self, caller: Caller, service: KeyService, credential_id: UUID) -> KeyVerdict:
        """Return the verdict, whatever it is."""
        return await self._validator.validate(
            ValidateKey(
                validation_id=new_id(), user_id=caller.user_id, service=service, credential_id=credential_id
            )
        )

    def _command(self, caller: Caller, entered: SentKey) -> ValidateKey:
        validation_id = new_id()
        sealed = seal_key(self._sealer, entered, "validate", user_id=caller.user_id, run_id=validation_id)
        return ValidateKey(
            validation_id=validation_id,
            user_id=caller.user_id,
            service=entered.service,
            sealed=sealed,
            base_url=entered.base_url,
        )


def accepted(verdict: KeyVerdict, service: KeyService) -> KeyVerdict:
    """Raise KeyRefusedError for a verdict that refuses the key."""
    if verdict in _REFUSED:
        raise KeyRefusedError(verdict, service)
    return verdict
