"""Encryption at rest by Vault Transit.

The key is derived from the user (`context`); the associated data bind credential, service and base URL, so a
ciphertext moved to another row, or a row given another address, does not decrypt.
https://developer.hashicorp.com/vault/api-docs/secret/transit#encrypt-data
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Final

import hvac
import orjson

from services.key_vault.domain.credentials import Ciphertext, Place
from shared.kernel.errors import InternalError, InvalidRequestError, NotFoundError, VaultUnavailableError
from shared.kernel.secret import SecretText
from shared.runtime.vault import VaultClient

_CREDENTIALS: Final = "credentials"
_FINGERPRINTS: Final = "fingerprints"
_VERSION: Final = 1
"""Of the form of the associated data."""


class VaultCipher:
    def __init__(self, vault: VaultClient, *, mount: str) -> None:
        self._vault = vault
        self._mount = mount

    async def encrypt(self, key: SecretText, place: Place) -> Ciphertext:
        data = await self._write(
            lambda client: client.secrets.transit.encrypt_data(
                _CREDENTIALS,
                plaintext=_b64(key.reveal().encode()),
                context=_context(place),
                associated_data=_associated(place),
                mount_point=self._mount,
            )
        )
        return Ciphertext(data["ciphertext"], data["key_version"])

    async def fingerprint(self, key: SecretText, place: Place) -> str:
        text = _canonical(
            {
                "user_id": place.user_id,
                "service": place.service,
                "base_url": place.base_url,
                "key": key.reveal(),
            }
        )
        data = await self._write(
            lambda client: client.secrets.transit.generate_hmac(  # type: ignore[no-untyped-call]
                _FINGERPRINTS, hash_input=_b64(text), mount_point=self._mount
            )
        )
        fingerprint: str = data["hmac"]
        return fingerprint

    async def decrypt(self, ciphertext: str, place: Place) -> SecretText:
        try:
            answer = await self._vault.call(
                lambda client: client.secrets.transit.decrypt_data(
                    _CREDENTIALS,
                    ciphertext=ciphertext,
                    context=_context(place),
                    associated_data=_associated(place),
                    mount_point=self._mount,
                )
            )
        except InvalidRequestError:
            raise InternalError("a stored credential does not decrypt") from None
        except NotFoundError:
            raise _misplaced() from None
        return SecretText(b64decode(answer["data"]["plaintext"]).decode())

    async def _write(self, operation: Callable[[hvac.Client], dict[str, Any]]) -> dict[str, Any]:
        """Encrypt or digest: whatever Vault refuses here is Vault's state, never the caller's input."""
        try:
            answer = await self._vault.call(operation)
        except (InvalidRequestError, NotFoundError):
            raise _misplaced() from None
        data: dict[str, Any] = answer["data"]
        return data


def _misplaced() -> VaultUnavailableError:
    return VaultUnavailableError("Vault's Transit mount or key is missing", service="vault")


def _context(place: Place) -> str:
    return _b64(place.user_id.encode())


def _associated(place: Place) -> str:
    bound = {"credential_id": str(place.credential_id), "service": place.service, "version": _VERSION}
    return _b64(_canonical(bound if place.base_url is None else {**bound, "base_url": place.base_url}))


def _canonical(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def _b64(raw: bytes) -> str:
    return b64encode(raw).decode()
