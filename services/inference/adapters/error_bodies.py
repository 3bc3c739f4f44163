"""Of an error's body only so much is read: the SDK reads all of it, whoever sends it, however long it is."""

from collections.abc import AsyncIterator
from typing import Final, cast

import httpx2

_BYTES_MAX: Final = 1024 * 1024
"""Whole errors take a few KiB. What is left unread costs the connection, not the error's status."""


async def cut_error(response: httpx2.Response) -> None:
    """A client's response hook. What is no error is measured by whoever reads it."""
    if not response.is_success:
        response.stream = _Beginning(cast("httpx2.AsyncByteStream", response.stream))


class _Beginning(httpx2.AsyncByteStream):
    def __init__(self, whole: httpx2.AsyncByteStream) -> None:
        self._whole = whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = _BYTES_MAX
        async for part in self._whole:
            yield part[:left]
            left -= len(part)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._whole.aclose()
