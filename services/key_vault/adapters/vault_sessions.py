"""Session keys by Vault Transit: context = the user, associated data = the claims of the token."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Final

import hvac

from services.key_vault.domain.session import TAMPERED, SessionClaims, session_refused
from shared.kernel.errors import InvalidRequestError, NotFoundError
from shared.kernel.secret import SecretText
from shared.runtime.vault import VaultClient, vault_unavailable

_KEY: Final = "credentials"
_PURPOSE: Final = "session"


class VaultSessionCipher:
    def __init__(self, vault: VaultClient, *, mount: str) -> None:
        self._vault = vault
        self._mount = mount

    async def encrypt(self, key: SecretText, claims: SessionClaims) -> str:
        try:
            data = await self._call(
                lambda client: client.secrets.transit.encrypt_data(
                    _KEY,
                    plaintext=_b64(key.reveal()),
                    context=_b64(claims.user_id),
                    associated_data=_associated(claims),
                    mount_point=self._mount,
                )
            )
        except InvalidRequestError:  # what Vault refuses to encrypt is Vault's state, not the caller's input
            raise vault_unavailable() from None
        return str(data["ciphertext"])

    async def decrypt(self, ciphertext: str, claims: SessionClaims) -> SecretText:
        try:
            data = await self._call(
                lambda client: client.secrets.transit.decrypt_data(
                    _KEY,
                    ciphertext=ciphertext,
                    context=_b64(claims.user_id),
                    associated_data=_associated(claims),
                    mount_point=self._mount,
                )
            )
        except InvalidRequestError:
            raise session_refused(TAMPERED) from None
        return SecretText(b64decode(data["plaintext"]).decode())

    async def _call(self, operation: Callable[[hvac.Client], dict[str, Any]]) -> dict[str, Any]:
        try:
            answer = await self._vault.call(operation)
        except NotFoundError:
            raise vault_unavailable() from None
        data: dict[str, Any] = answer["data"]
        return data


def _associated(claims: SessionClaims) -> str:
    return _b64(json.dumps({**claims.fields(), "purpose": _PURPOSE}, sort_keys=True))


def _b64(text: str) -> str:
    return b64encode(text.encode()).decode()
