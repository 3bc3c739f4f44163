"""Session keys by Vault Transit: bound to their user and to the claims of the token."""

import json
import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Final

from services.key_vault.adapters.transit import Bound, Transit, b64, bound_to
from services.key_vault.domain.session import TAMPERED, SessionClaims, session_refused
from shared.kernel.errors import InvalidRequestError
from shared.kernel.secret import SecretText
from shared.runtime.vault import VaultClient

_PURPOSE: Final = "session"
"""No credential's associated data have one: a stored ciphertext is no session's, nor the other way round."""
_WRITTEN: Final = re.compile(r"vault:v[1-9][0-9]*:(?P<text>[A-Za-z0-9+/]+=*)", re.ASCII)


class VaultSessionCipher:
    """See `SessionCipher`. `mount`: Transit's."""

    def __init__(self, vault: VaultClient, *, mount: str) -> None:
        self._transit = Transit(vault, mount=mount)

    async def encrypt(self, key: SecretText, claims: SessionClaims) -> str:
        return str((await self._transit.encrypt(key, _bound(claims)))["ciphertext"])

    async def decrypt(self, ciphertext: str, claims: SessionClaims) -> SecretText:
        if not _is_as_written(ciphertext):
            raise session_refused(TAMPERED)
        try:
            return await self._transit.decrypt(ciphertext, _bound(claims))
        except InvalidRequestError:
            raise session_refused(TAMPERED) from None


def _is_as_written(ciphertext: str) -> bool:
    """Transit also takes `v0` for `v1`, line breaks, and base64 with stray bits at its end."""
    match = _WRITTEN.fullmatch(ciphertext)
    try:
        return match is not None and b64(b64decode(match["text"])) == match["text"]
    except Base64Error:
        return False


def _bound(claims: SessionClaims) -> Bound:
    text = json.dumps({**claims.fields(), "purpose": _PURPOSE}, sort_keys=True)
    return bound_to(claims.user_id, text.encode())
