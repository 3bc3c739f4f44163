"""JWTs (RFC 7519), by a shared secret in development and by a provider's JWKS (RFC 7517) for real."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import jwt

from services.api_edge.domain.identity import Caller, caller_from_claims
from shared.kernel.errors import ServiceUnavailableError, UnauthenticatedError
from shared.kernel.secret import SecretText
from shared.runtime.logs import get_logger

_FRESH_S = 300.0
_PAUSE_S = 10.0
_TIMEOUT_S = 5.0
_BYTES_MAX = 1_000_000
_REQUIRED = ["exp", "sub"]


@dataclass(frozen=True)
class Expected:
    """Checked when configured."""

    issuer: str | None = None
    audience: str | None = None


class NoJwts:
    """Without a secret or a JWKS no JWT is good."""

    async def verify(self, token: str) -> Caller:  # noqa: ARG002
        raise UnauthenticatedError("JWTs are not accepted here")


class SharedSecretJwts:
    """HS256, nothing else."""

    def __init__(self, secret: SecretText, expected: Expected) -> None:
        self._secret = secret
        self._expected = expected

    async def verify(self, token: str) -> Caller:
        return _verified(token, self._secret.reveal(), ["HS256"], self._expected)


class JwksJwts:
    """Keys are fetched off the request's way and kept; an unknown `kid` fetches again, at most every 10 s."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        url: str,
        algorithms: tuple[str, ...],
        expected: Expected,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._url = url
        self._algorithms = list(algorithms)
        self._expected = expected
        self._clock = clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._lock = asyncio.Lock()

    async def verify(self, token: str) -> Caller:
        key = await self._key(_key_id(token))
        return _verified(token, key, self._algorithms, self._expected)

    async def _key(self, key_id: str | None) -> jwt.PyJWK:
        if self._age_s() > _FRESH_S or (key_id not in self._keys and self._age_s() > _PAUSE_S):
            await self._fetch()
        if not self._keys:
            raise ServiceUnavailableError("the token keys cannot be read", service="jwks", retry_after_s=2)
        if key := self._keys.get(key_id):
            return key
        raise UnauthenticatedError("the token's key is unknown")

    def _age_s(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    async def _fetch(self) -> None:
        seen = self._fetched_at
        async with self._lock:
            if self._fetched_at != seen:
                return
            try:
                self._keys = await self._read()
            except (httpx2.HTTPError, jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
                get_logger().warning("could not read the token keys", reason=type(error).__name__)
            self._fetched_at = self._clock()

    async def _read(self) -> dict[str | None, jwt.PyJWK]:
        answer = await self._http.get(self._url, timeout=_TIMEOUT_S, follow_redirects=False)
        answer.raise_for_status()
        if len(answer.content) > _BYTES_MAX:
            raise ValueError("the JWKS is too large")
        keys = jwt.PyJWKSet.from_dict(answer.json()).keys
        return {key.key_id: key for key in keys if key.algorithm_name in self._algorithms}


def _key_id(token: str) -> str | None:
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError:
        raise UnauthenticatedError("not a token") from None
    return key_id if isinstance(key_id, str) else None


def _verified(token: str, key: "str | jwt.PyJWK", algorithms: list[str], expected: Expected) -> Caller:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=expected.audience,
            issuer=expected.issuer,
            options={"require": _REQUIRED, "verify_aud": expected.audience is not None},
        )
    except (jwt.PyJWTError, ValueError):
        raise UnauthenticatedError("the token is not good") from None
    return caller_from_claims(claims)
