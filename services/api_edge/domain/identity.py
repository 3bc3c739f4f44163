"""Who calls."""

from dataclasses import dataclass
from typing import Final

from shared.kernel.errors import UnauthenticatedError
from shared.kernel.ids import is_user_id
from shared.kernel.names import Role

ANONYMOUS: Final = "anonymous"
"""Everybody without a token, where none is needed. No token may name it."""


@dataclass(frozen=True, slots=True)
class Caller:
    user_id: str
    role: Role

    @property
    def is_anonymous(self) -> bool:
        return self.user_id == ANONYMOUS


def caller_from_claims(claims: dict[str, object]) -> Caller:
    """Read a verified JWT's `sub` and `role` (absent: user). Raises UnauthenticatedError for unfit ones."""
    user_id, role = claims.get("sub"), claims.get("role", Role.USER)
    if not is_user_id(user_id) or role not in tuple(Role):
        raise UnauthenticatedError("the token's claims are not usable")
    return Caller(str(user_id), Role(str(role)))


def bearer_token(authorization: str | None) -> str:
    """Return the token of an `Authorization: Bearer …` header (RFC 6750). Raises UnauthenticatedError."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("no bearer token")
    return token.strip()
