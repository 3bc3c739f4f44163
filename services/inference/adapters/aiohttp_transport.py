"""httpx2 on aiohttp's connections: a call takes less than half the CPU that httpx2's own take.

The openai SDK and everything else go on talking to httpx2; only what carries the bytes is another
(https://www.python-httpx.org/advanced/transports/#custom-transports).
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import BytesIO
from typing import Any, Final

import aiohttp
import httpx2
from yarl import URL

from shared.runtime.trust import authorities

_PART_BYTES: Final = 64 * 1024
_on_sent: ContextVar[list[Callable[[], None]]] = ContextVar("on_sent")


@contextmanager
def telling_when_sent(told: Callable[[], None]) -> Iterator[None]:
    """Call `told` when a request made inside goes out: not while it waits for its connection.

    The openai SDK makes the request itself, and hands nothing of its caller's on to the transport.
    """
    listening = [told]
    token = _on_sent.set(listening)
    try:
        yield
    finally:
        _on_sent.reset(token)
        listening.clear()  # a connection keeps the context that it was opened in, for its whole life


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Follows nothing, heeds no proxy, keeps no cookie, unpacks nothing, and tries nothing twice.

    Made while an event loop runs. A request's write timeout is not heeded: the caller has a deadline.
    """

    def __init__(self, limits: httpx2.Limits) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limits.max_connections or 0,
                keepalive_timeout=limits.keepalive_expiry,
                ssl=authorities(),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            trace_configs=[_tracing()],
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises httpx2's errors: ConnectError, ConnectTimeout (also of the wait for a free connection),
        ReadTimeout, ReadError.
        """
        with _httpx_errors(request):
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=_body(await request.aread()),
                allow_redirects=False,
                timeout=_timeout(request.extensions.get("timeout", {})),
            )
        return httpx2.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Answer(response, request),
            request=request,
        )

    async def aclose(self) -> None:
        await self._session.close()


class _Answer(httpx2.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse, request: httpx2.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors(self._request):
            async for part in self._response.content.iter_chunked(_PART_BYTES):
                yield part

    async def aclose(self) -> None:
        """Give the connection back; one whose answer was not read to its end is closed."""
        self._response.release()


def _tracing() -> aiohttp.TraceConfig:
    async def headers_sent(*_: object) -> None:
        for told in _on_sent.get([]):
            told()

    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(headers_sent)
    return tracing


def _body(content: bytes) -> BytesIO | None:
    """Bytes of over 1 MiB would make aiohttp warn."""
    return BytesIO(content) if content else None


def _timeout(asked: dict[str, Any]) -> aiohttp.ClientTimeout:
    """Its `connect` covers the wait for a free connection and the connecting."""
    connect, pool = asked.get("connect"), asked.get("pool")
    in_all = None if connect is None or pool is None else connect + pool
    return aiohttp.ClientTimeout(
        total=None, connect=in_all, sock_connect=connect, sock_read=asked.get("read")
    )


@contextmanager
def _httpx_errors(request: httpx2.Request) -> Iterator[None]:
    """Say it in httpx2's words. Its texts are aiohttp's: never to be shown."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx2.ConnectTimeout(str(error), request=request) from error
    except TimeoutError as error:  # aiohttp's SocketTimeoutError among them
        raise httpx2.ReadTimeout(str(error), request=request) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx2.ConnectError(str(error), request=request) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx2.ReadError(str(error), request=request) from error
