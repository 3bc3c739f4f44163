"""`Idempotency-Key`: the same key and request mean the same run, however often it is asked for."""

import hashlib
from dataclasses import dataclass
from typing import Final

from services.api_edge.domain.errors import BadInputError
from shared.kernel.lengths import IDEMPOTENCY_KEY_CHARS_MAX
from shared.kernel.secret import holds_secret

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key for one request, and the request's SHA-256."""

    key: str
    request_sha256: bytes


def idempotency_key(header: str | None) -> str | None:
    """Return a client's key, None without one.

    Raises BadInputError for one that is empty, too long, not printable, or a provider's key.
    """
    if header is None:
        return None
    key = header.strip()
    if (
        not 0 < len(key) <= IDEMPOTENCY_KEY_CHARS_MAX
        or not key.isprintable()
        or not key.isascii()
        or holds_secret(key)
    ):
        raise BadInputError("wrong_value", IDEMPOTENCY_HEADER)
    return key


def request_sha256(path: str, flow: str | None, body: bytes) -> bytes:
    """Tell one request from another: by where it goes, its flow, and its body to the byte."""
    head = f"{path}\n{flow or ''}\n".encode()
    return hashlib.sha256(head + body).digest()
