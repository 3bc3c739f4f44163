"""Encryption at rest by Vault Transit.

The key is derived from the user (`context`); the associated data bind credential, version, service and base
URL, so a ciphertext moved to another row, or a row given another address, does not decrypt.
https://developer.hashicorp.com/vault/api-docs/secret/transit#encrypt-data
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any, Final

import hvac
import orjson

from services.key_vault.adapters.transit_batch import TransitBatch
from services.key_vault.domain.credentials import Ciphertext, Place, StoredCredential
from services.key_vault.domain.session import SessionClaims
from shared.kernel.errors import (
    InternalError,
    InvalidRequestError,
    NotFoundError,
    UserApiKeyInvalidError,
    VaultUnavailableError,
)
from shared.kernel.secret import SecretText
from shared.runtime.logs import get_logger
from shared.runtime.vault import VaultClient

_CREDENTIALS: Final = "credentials"
_FINGERPRINTS: Final = "fingerprints"
_SESSION_FORM: Final = 1
"""Of a session's associated data."""


class VaultCipher:
    """See `Cipher`. `mount`: Transit's."""

    def __init__(self, vault: VaultClient, *, mount: str) -> None:
        self._vault = vault
        self._mount = mount
        self._batch = TransitBatch(vault, path=f"{mount}/{{}}/{_CREDENTIALS}")

    async def encrypt(self, key: SecretText, place: Place) -> Ciphertext:
        data = await self._encrypt(key, _context(place.user_id), _associated(place))
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
            return await self._decrypt(ciphertext, _context(place.user_id), _associated(place))
        except InvalidRequestError:
            raise InternalError("a stored credential does not decrypt") from None

    async def latest_version(self) -> int:
        data = await self._write(
            lambda client: client.secrets.transit.read_key(  # type: ignore[no-untyped-call]
                _CREDENTIALS, mount_point=self._mount
            )
        )
        version: int = data["latest_version"]
        return version

    async def rewrap(self, stored: Sequence[StoredCredential]) -> list[Ciphertext | None]:
        """Decrypt and encrypt: Transit's own rewrap knows no associated data (hashicorp/vault 31842)."""
        plain = await self._batch.decrypt(
            [{"ciphertext": one.ciphertext, **_bound(one.place)} for one in stored]
        )
        found = [(one, text) for one, text in zip(stored, plain, strict=True) if text is not None]
        try:
            fresh = await self._batch.encrypt(
                [{"plaintext": text, **_bound(one.place)} for one, text in found]
            )
        except (InvalidRequestError, NotFoundError):
            raise _misplaced() from None
        made = {
            one.credential_id: Ciphertext(data["ciphertext"], data["key_version"])
            for (one, _), data in zip(found, fresh, strict=True)
        }
        for one in stored:
            if one.credential_id not in made:
                get_logger().error("a stored credential does not decrypt", credential_id=one.credential_id)
        return [made.get(one.credential_id) for one in stored]

    async def encrypt_session(self, key: SecretText, claims: SessionClaims) -> str:
        data = await self._encrypt(key, _context(claims.user_id), _session(claims))
        ciphertext: str = data["ciphertext"]
        return ciphertext

    async def decrypt_session(self, ciphertext: str, claims: SessionClaims) -> SecretText:
        try:
            return await self._decrypt(ciphertext, _context(claims.user_id), _session(claims))
        except InvalidRequestError:
            raise UserApiKeyInvalidError(
                "the session key is not as it was issued", detail="session_key_tampered"
            ) from None

    async def _encrypt(self, key: SecretText, context: str, associated: str) -> dict[str, Any]:
        return await self._write(
            lambda client: client.secrets.transit.encrypt_data(
                _CREDENTIALS,
                plaintext=_b64(key.reveal().encode()),
                context=context,
                associated_data=associated,
                mount_point=self._mount,
            )
        )

    async def _decrypt(self, ciphertext: str, context: str, associated: str) -> SecretText:
        """Raise InvalidRequestError for a ciphertext of something else."""
        try:
            answer = await self._vault.call(
                lambda client: client.secrets.transit.decrypt_data(
                    _CREDENTIALS,
                    ciphertext=ciphertext,
                    context=context,
                    associated_data=associated,
                    mount_point=self._mount,
                )
            )
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


def _bound(place: Place) -> dict[str, str]:
    return {"context": _context(place.user_id), "associated_data": _associated(place)}


def _context(user_id: str) -> str:
    return _b64(user_id.encode())


def _associated(place: Place) -> str:
    bound = {
        "credential_id": str(place.credential_id),
        "service": place.service,
        "version": place.version,
    }
    return _b64(_canonical(bound if place.base_url is None else {**bound, "base_url": place.base_url}))


def _session(claims: SessionClaims) -> str:
    """Unlike any credential's: a stored ciphertext is no session, and a session's no credential."""
    bound = {
        "purpose": "session",
        "version": _SESSION_FORM,
        "service": claims.service,
        "base_url": claims.base_url,
        "expires_at": int(claims.expires_at.timestamp()),
    }
    return _b64(_canonical(bound))


def _canonical(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def _b64(raw: bytes) -> str:
    return b64encode(raw).decode()
