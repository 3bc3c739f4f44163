"""Tell who calls, by API token or JWT."""

import hashlib
import time
from collections.abc import Callable

from services.api_edge.domain.identity import Caller, bearer_token
from services.api_edge.ports import TokenStore, TokenVerifier
from shared.kernel.errors import UnauthenticatedError
from shared.kernel.names import API_TOKEN_PREFIX

_TOKEN_CHARS_MAX = 4096
_REMEMBERED_S = 5.0
_REMEMBERED_MAX = 10_000


class Authenticate:
    """A token that was good is remembered for five seconds; so long does a revoked one still work."""

    def __init__(
        self, tokens: TokenStore, jwt: TokenVerifier, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tokens = tokens
        self._jwt = jwt
        self._clock = clock
        self._remembered: dict[bytes, tuple[float, Caller]] = {}

    async def __call__(self, authorization: str | None) -> Caller:
        """Raise UnauthenticatedError unless an `Authorization` header names a caller."""
        caller = await self._caller(bearer_token(authorization))
        if caller.is_anonymous:
            raise UnauthenticatedError("the token names nobody")
        return caller

    async def _caller(self, token: str) -> Caller:
        if len(token) > _TOKEN_CHARS_MAX or not token.isascii():
            raise UnauthenticatedError("not a token")
        if token.startswith(API_TOKEN_PREFIX):
            return await self._by_api_token(hashlib.sha256(token.encode()).digest())
        return await self._jwt.verify(token)

    async def _by_api_token(self, digest: bytes) -> Caller:
        until, caller = self._remembered.get(digest, (0.0, None))
        if caller is not None and self._clock() < until:
            return caller
        found = await self._tokens.find(digest)
        if found is None:
            self._remembered.pop(digest, None)
            raise UnauthenticatedError("unknown token")
        self._remember(digest, found)
        return found

    def _remember(self, digest: bytes, caller: Caller) -> None:
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[digest] = (self._clock() + _REMEMBERED_S, caller)
