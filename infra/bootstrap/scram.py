"""Passwords as Postgres keeps them: it is sent what proves one, so that no log of statements tells it."""

import hashlib
import hmac
import secrets
from base64 import b64encode
from typing import Final

_ITERATIONS: Final = 4096


def scram_verifier(password: str) -> str:
    """Return the SCRAM-SHA-256 verifier of an ASCII password (RFC 5802, in Postgres' way to write it)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    told = (b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(_ITERATIONS, *told)
