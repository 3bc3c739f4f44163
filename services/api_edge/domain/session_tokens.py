"""What a session token (`lks_…`) says of itself in the clear. Whether it is true, key_vault finds out."""

from base64 import urlsafe_b64decode

import orjson

from shared.kernel.names import SESSION_KEY_PREFIX, KeyService


def service_of(token: str) -> KeyService | None:
    """Return the service whose key a token says that it holds; None when that cannot be read.

    Its format is key_vault's (`services/key_vault/domain/session.py`).
    """
    text = token.removeprefix(SESSION_KEY_PREFIX)
    try:
        return KeyService(orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))["s"])
    except (ValueError, KeyError, TypeError):
        return None
