"""`Idempotency-Key`: the same key and request mean the same run, however often it is asked for."""

import hashlib
from dataclasses import dataclass
from typing import Final

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.header_text import is_plain_name
from shared.kernel.lengths import IDEMPOTENCY_KEY_CHARS_MAX

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
    if not key or not is_plain_name(key, IDEMPOTENCY_KEY_CHARS_MAX):
        raise BadInputError("wrong_value", IDEMPOTENCY_HEADER)
    return key


def request_sha256(path: str, flow: str | None, body: bytes) -> bytes:
    """Tell one request from another: by where it goes, its flow, and its body to the byte."""
    head = f"{path}\n{flow or ''}\n".encode()
    return hashlib.sha256(head + body).digest()
