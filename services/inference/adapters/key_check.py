"""Asking a provider about a key: one GET, read only so far, never followed."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import httpx2

from services.inference.adapters.addresses import destination
from services.inference.adapters.http_clients import HttpClients
from services.inference.adapters.provider_errors import parsed
from services.inference.domain.providers import KeyCheck, ProviderSpec
from services.inference.domain.verdicts import verdict_of
from services.inference.ports import OpenedKey
from shared.kernel.errors import InternalError, PlatformError
from shared.kernel.names import KeyService, KeySource, KeyVerdict
from shared.runtime.logs import get_logger, redacting

_BODY_BYTES_MAX: Final = 2 * 1024 * 1024
_NOT_REACHED: Final = (
    TimeoutError,
    httpx2.HTTPError,
    httpx2.StreamError,
    httpx2.InvalidURL,
    OSError,
)


class HttpKeyChecker:
    """Whoever asks is the key's owner, so a base URL is a caller's: it is only called behind the guard."""

    def __init__(self, specs: Mapping[KeyService, ProviderSpec], http: HttpClients) -> None:
        self._specs = specs
        self._http = http

    async def check(self, key: OpenedKey, *, timeout_s: float) -> KeyVerdict:
        with redacting(key.secret):
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._ask(key, timeout_s)
            except PlatformError:
                raise
            except _NOT_REACHED as error:
                reason = type(error).__name__
                get_logger().info("provider not reached", key_service=key.service, reason=reason)
                return KeyVerdict.UNREACHABLE
            except Exception:  # noqa: BLE001 - whatever a library wrote into it may hold the key
                get_logger().exception("key check failed", key_service=key.service)
                raise InternalError from None

    async def _ask(self, key: OpenedKey, timeout_s: float) -> KeyVerdict:
        spec = self._specs[key.service]
        to = destination(spec, KeySource.USER, key.base_url)
        check = spec.check_at(httpx2.URL(to.base_url).host)
        http = self._http.guarded if to.guarded else self._http.configured
        url, headers = to.base_url + check.path, _headers(key, check)
        async with http.stream("GET", url, headers=headers, timeout=timeout_s) as response:
            status, body = response.status_code, await _body(response)
        get_logger().info("provider asked", key_service=key.service, status=status)
        return verdict_of(check, status, body, datetime.now(UTC))


def _headers(key: OpenedKey, check: KeyCheck) -> dict[str, str]:
    return {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        **check.headers,
        check.auth_header: check.auth_prefix + key.secret.reveal(),
    }


async def _body(response: httpx2.Response) -> object:
    """Return the JSON of the answer; None for one that is none, or too long to be one about a key."""
    read = bytearray()
    async for part in response.aiter_bytes():
        read += part
        if len(read) > _BODY_BYTES_MAX:
            return None
    return parsed(bytes(read))
