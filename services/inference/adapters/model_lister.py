"""OpenRouter's lists of models, and of hosts that keep nothing: public, so no key goes with the questions."""

import asyncio
from collections.abc import Mapping
from typing import Final

import httpx2

from services.inference.adapters.http_clients import HttpClients
from services.inference.adapters.provider_errors import parsed
from services.inference.domain.model_list import listed_models, zero_retention_models
from services.inference.domain.providers import ProviderSpec
from shared.contracts.models import ListedModel
from shared.kernel.errors import ProviderError
from shared.kernel.names import KeyService

_TIMEOUT_S: Final = 10.0
_BYTES_MAX: Final = 16 * 1024 * 1024


class HttpModelLister:
    def __init__(self, specs: Mapping[KeyService, ProviderSpec], http: HttpClients) -> None:
        self._url = specs[KeyService.OPENROUTER].base_url.rstrip("/")
        self._http = http.configured

    async def models(self) -> tuple[ListedModel, ...]:
        listed, zero_retention = await asyncio.gather(self._read("/models"), self._zero_retention())
        found = listed_models(listed, zero_retention)
        if not found:
            raise _unreadable()
        return found

    async def _zero_retention(self) -> frozenset[str]:
        try:
            return zero_retention_models(await self._read("/endpoints/zdr"))
        except ProviderError:
            return frozenset()

    async def _read(self, path: str) -> object:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        read = bytearray()
        try:
            async with (
                asyncio.timeout(_TIMEOUT_S),
                self._http.stream("GET", self._url + path, headers=headers, timeout=_TIMEOUT_S) as response,
            ):
                response.raise_for_status()
                async for part in response.aiter_bytes():
                    read += part
                    if len(read) > _BYTES_MAX:
                        raise _unreadable()
        except (TimeoutError, httpx2.HTTPError, httpx2.StreamError, OSError):
            raise _unreadable() from None
        return parsed(bytes(read))


def _unreadable() -> ProviderError:
    return ProviderError("the list of models cannot be read", service=KeyService.OPENROUTER)
