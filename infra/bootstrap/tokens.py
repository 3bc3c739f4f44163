"""Tokens for callers of the edge: long-lived API tokens, and short JWTs for development."""

import asyncio
import hashlib
import secrets
import time

import jwt

from infra.bootstrap.postgres import connect
from infra.bootstrap.realm import BootstrapError, Realm
from shared.kernel.ids import is_user_id
from shared.kernel.names import API_TOKEN_PREFIX

_JWT_LIFE_S = 3600
_INSERT = "INSERT INTO edge.api_tokens (token_sha256, user_id, role, label) VALUES ($1, $2, $3, $4)"
_REVOKE = "UPDATE edge.api_tokens SET revoked_at = now() WHERE token_sha256 = $1"
_REVOKE_ALL = """
WITH gone AS (
    UPDATE edge.api_tokens SET revoked_at = now() WHERE user_id = $1 AND revoked_at IS NULL RETURNING 1
)
SELECT count(*) FROM gone
"""
_KNOWN = """
SELECT 1 FROM edge.api_tokens
WHERE token_sha256 = $1 AND user_id = $2 AND role = $3 AND revoked_at IS NULL
"""


def mint_token(postgres_url: str, realm: Realm, user_id: str, role: str, *, label: str = "minted") -> str:
    """Make an API token that lives until it is revoked; only its hash is stored.

    `postgres_url` is the administrator's, of the realm's database. `role` is `user`, `admin` or `service`.
    Raises BootstrapError for what is no user's id.
    """
    if not is_user_id(user_id):
        raise BootstrapError("a user's id is 1 to 128 printable characters")
    token = API_TOKEN_PREFIX + secrets.token_urlsafe(32)
    label = f"{label} ({realm.name})"
    asyncio.run(_execute(postgres_url, _INSERT, _digest(token), user_id, role, label))
    return token


def revoke_token(postgres_url: str, token: str) -> None:
    """End an API token, at once."""
    asyncio.run(_execute(postgres_url, _REVOKE, _digest(token)))


def revoke_tokens_of(postgres_url: str, user_id: str) -> int:
    """End all of a user's API tokens, at once; return how many."""
    return int(str(asyncio.run(_execute(postgres_url, _REVOKE_ALL, user_id))))


def is_token_of(postgres_url: str, token: str, user_id: str, role: str) -> bool:
    """Tell whether a token still works, for this user and role."""
    return bool(asyncio.run(_execute(postgres_url, _KNOWN, _digest(token), user_id, role)))


def mint_jwt(secret: str, realm: Realm, user_id: str, role: str) -> str:
    """Make a development JWT (HS256), valid for an hour."""
    claims = {"sub": user_id, "role": role, "iss": realm.name, "aud": realm.name}
    return jwt.encode({**claims, "exp": int(time.time()) + _JWT_LIFE_S}, secret, algorithm="HS256")


async def _execute(url: str, statement: str, *values: object) -> object:
    async with connect(url) as connection:
        return await connection.fetchval(statement, *values)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
