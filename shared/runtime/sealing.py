"""HPKE (RFC 9180) base mode: seal a key to a holder's public key, bound to one use.

The binding is HPKE's `info`: key, run, user and address cannot be swapped without the seal breaking.
"""

from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Self

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from shared.contracts.sealed import SealBinding, SealedKey
from shared.kernel.errors import InvalidRequestError
from shared.kernel.secret import SecretText


def _suite() -> Suite:
    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


def _info(binding: SealBinding) -> bytes:
    return orjson.dumps(binding.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)


def seal(secret: SecretText, public_key: str, binding: SealBinding) -> SealedKey:
    """Seal to a base64 X25519 public key. Raises InvalidRequestError for what is no such key."""
    try:
        holder = X25519PublicKey.from_public_bytes(b64decode(public_key, validate=True))
        sealed = _suite().encrypt(secret.reveal().encode(), holder, _info(binding))
    except ValueError:
        raise InvalidRequestError("not an X25519 public key") from None
    return SealedKey(ciphertext=b64encode(sealed).decode(), expires_at=binding.expires_at)


class KeyPair:
    """An X25519 key pair; the private half never leaves it."""

    def __init__(self, private: X25519PrivateKey) -> None:
        self._private = private
        self.public_key = b64encode(private.public_key().public_bytes_raw()).decode()

    @classmethod
    def generate(cls) -> Self:
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_private(cls, encoded: SecretText) -> Self:
        return cls(X25519PrivateKey.from_private_bytes(b64decode(encoded.reveal())))

    def open(self, sealed: SealedKey, binding: SealBinding) -> SecretText:
        """Raise InvalidRequestError when it was sealed for another use or holder, or has expired."""
        if sealed.expires_at <= datetime.now(UTC):
            raise InvalidRequestError("the sealed key has expired")
        try:
            opened = _suite().decrypt(
                b64decode(sealed.ciphertext, validate=True), self._private, _info(binding)
            )
            return SecretText(opened.decode())
        except (InvalidTag, ValueError):
            raise InvalidRequestError("the sealed key does not open") from None
