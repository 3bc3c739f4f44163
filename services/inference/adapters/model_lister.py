"""OpenRouter's list of models: public, so no key goes with the question."""

import asyncio
from collections.abc import Mapping
from typing import Final

import httpx2

from services.inference.adapters.http_clients import HttpClients
from services.inference.adapters.provider_errors import parsed
from services.inference.domain.model_list import listed_models
from services.inference.domain.providers import ProviderSpec
from shared.contracts.models import ListedModel
from shared.kernel.errors import ProviderError
from shared.kernel.names import KeyService

_TIMEOUT_S: Final = 10.0
_BYTES_MAX: Final = 16 * 1024 * 1024


class HttpModelLister:
    def __init__(self, specs: Mapping[KeyService, ProviderSpec], http: HttpClients) -> None:
        self._url = specs[KeyService.OPENROUTER].base_url.rstrip("/") + "/models"
        self._http = http.configured

    async def models(self) -> tuple[ListedModel, ...]:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                found = listed_models(parsed(await self._read()))
        except (TimeoutError, httpx2.HTTPError, httpx2.StreamError, OSError):
            raise _unreadable() from None
        if not found:
            raise _unreadable()
        return found

    async def _read(self) -> bytes:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._http.stream("GET", self._url, headers=headers, timeout=_TIMEOUT_S) as response:
            response.raise_for_status()
            read = bytearray()
            async for part in response.aiter_bytes():
                read += part
                if len(read) > _BYTES_MAX:
                    raise _unreadable()
            return bytes(read)


def _unreadable() -> ProviderError:
    return ProviderError("the list of models cannot be read", service=KeyService.OPENROUTER)
