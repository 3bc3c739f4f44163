"""Session keys: `lks_…` tokens that hold a key's ciphertext; nothing of them is stored.

A token is `lks_` and base64url of JSON {v, u: digest of the user's id, s: service, b: base URL, e: expiry
(Unix seconds), c: ciphertext}. The ciphertext is bound to the user and to all of the rest.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from shared.kernel.errors import InvalidRequestError, UserApiKeyInvalidError
from shared.kernel.names import SESSION_KEY_PREFIX, KeyService
from shared.kernel.secret import SecretText

EXPIRED: Final = "session_key_expired"
OF_ANOTHER_USER: Final = "session_key_of_another_user"
TAMPERED: Final = "session_key_tampered"

SESSION_KEY_CHARS_MAX: Final = 4_096
"""Of the key in it: the token must still fit into a header, and sealed into a message."""

_VERSION: Final = 1
_DIGEST_CHARS: Final = 32


@dataclass(frozen=True)
class SessionClaims:
    """What a session token says in the clear, and its ciphertext is bound to. Expiry in whole seconds."""

    user_id: str
    service: KeyService
    base_url: str | None
    expires_at: datetime

    def fields(self) -> dict[str, Any]:
        return {
            "v": _VERSION,
            "u": _digest(self.user_id),
            "s": self.service.value,
            "b": self.base_url,
            "e": int(self.expires_at.timestamp()),
        }


def expiry(now: datetime, ttl_s: int) -> datetime:
    return now.replace(microsecond=0) + timedelta(seconds=ttl_s)


def check_fits(key: SecretText) -> None:
    if len(key) > SESSION_KEY_CHARS_MAX:
        raise InvalidRequestError(f"a key for a session has at most {SESSION_KEY_CHARS_MAX} characters")


def write_token(claims: SessionClaims, ciphertext: str) -> str:
    text = json.dumps({**claims.fields(), "c": ciphertext}, separators=(",", ":"))
    return SESSION_KEY_PREFIX + urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: SecretText, user_id: str, now: datetime) -> tuple[SessionClaims, str]:
    """Return the claims, and the ciphertext that vouches for them once it decrypts.

    Raises `user_api_key_invalid` by name: tampered with, another user's, expired.
    """
    try:
        said = _decoded(token.reveal())
        claims = SessionClaims(
            user_id, KeyService(said["s"]), _address(said["b"]), datetime.fromtimestamp(said["e"], UTC)
        )
        of_user, ciphertext = said["u"], str(said["c"])
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        raise session_refused(TAMPERED) from None
    if of_user != _digest(user_id):
        raise session_refused(OF_ANOTHER_USER)
    if write_token(claims, ciphertext) != token.reveal():  # base64 and JSON have many ways to say the same
        raise session_refused(TAMPERED)
    if claims.expires_at <= now:
        raise session_refused(EXPIRED)
    return claims, ciphertext


def session_refused(detail: str) -> UserApiKeyInvalidError:
    said = detail.removeprefix("session_key_").replace("_", " ")
    return UserApiKeyInvalidError(f"the session key is {said}: enter your key again", detail=detail)


def _decoded(token: str) -> dict[str, Any]:
    if not token.startswith(SESSION_KEY_PREFIX):
        raise ValueError("no session key")
    text = token.removeprefix(SESSION_KEY_PREFIX)
    padded = text.encode("ascii") + b"=" * (-len(text) % 4)
    decoded: dict[str, Any] = json.loads(urlsafe_b64decode(padded))
    return decoded


def _address(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value.isascii()):
        return value
    raise TypeError("no address")


def _digest(user_id: str) -> str:
    return sha256(user_id.encode()).hexdigest()[:_DIGEST_CHARS]
