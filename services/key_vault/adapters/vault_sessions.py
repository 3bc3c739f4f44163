"""Session keys by Vault Transit: bound to their user and to the claims of the token."""

import json
from typing import Final

from services.key_vault.adapters.transit import Bound, Transit, bound_to
from services.key_vault.domain.session import TAMPERED, SessionClaims, session_refused
from shared.kernel.errors import InvalidRequestError
from shared.kernel.secret import SecretText
from shared.runtime.vault import VaultClient

_PURPOSE: Final = "session"
"""No credential's associated data have one: a stored ciphertext is no session's, nor the other way round."""


class VaultSessionCipher:
    """See `SessionCipher`. `mount`: Transit's."""

    def __init__(self, vault: VaultClient, *, mount: str) -> None:
        self._transit = Transit(vault, mount=mount)

    async def encrypt(self, key: SecretText, claims: SessionClaims) -> str:
        return str((await self._transit.encrypt(key, _bound(claims)))["ciphertext"])

    async def decrypt(self, ciphertext: str, claims: SessionClaims) -> SecretText:
        try:
            return await self._transit.decrypt(ciphertext, _bound(claims))
        except InvalidRequestError:
            raise session_refused(TAMPERED) from None


def _bound(claims: SessionClaims) -> Bound:
    text = json.dumps({**claims.fields(), "purpose": _PURPOSE}, sort_keys=True)
    return bound_to(claims.user_id, text.encode())
