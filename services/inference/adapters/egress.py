"""The guard on addresses that a caller gave: only https on 443, only to addresses of the public internet.

A name is resolved once, every address of it is checked, and the connection goes to a checked address, so that
no second answer of the DNS can lead elsewhere. Name and TLS server name stay what the caller gave.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final
from weakref import WeakValueDictionary

import httpcore2
import httpx2

from shared.kernel.errors import InvalidRequestError

Address = IPv4Address | IPv6Address
Resolver = Callable[[str], Awaitable[list[Address]]]

_HTTPS_PORT: Final = 443
_MARKS: Final = re.compile(r"[?#@\\\s]")
"""What has no place in a base URL, even with nothing behind it: the call's path is put at its end."""
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAME_CHARS_MAX: Final = 253
_INNER_NAMES: Final = ("localhost", "localdomain", "local", "internal", "home.arpa")
"""Top-level names that are never of the public internet (RFC 6761, 6762, 8375, and ICANN's `.internal`)."""
_THREADS: Final = 64
_THREADS_OF_A_DOMAIN: Final = 8
_PUBLIC_V6: Final = IPv6Network("2000::/3")
# What `is_global` (Python 3.11) takes for public, or what leads elsewhere by its inside.
_DENIED: Final = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # IETF protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # Azure's own host agent
        "2001::/23",  # IETF protocol assignments, Teredo among them
        "2002::/16",  # 6to4: holds an IPv4 address
        "3ffe::/16",  # was the 6bone's
        "3fff::/20",  # documentation
    )
)
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)
"""RFC 5214: what stands before an embedded IPv4 address."""


def is_public(address: Address) -> bool:
    """Tell whether an address is of the public internet, and nothing else by another name."""
    if isinstance(address, IPv6Address) and not _is_plain_v6(address):
        return False
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(address.version == network.version and address in network for network in _DENIED)


def _is_plain_v6(address: IPv6Address) -> bool:
    if address not in _PUBLIC_V6 or address.scope_id is not None:
        return False
    return (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP


def check_base_url(base_url: str) -> str:
    """Return it without a slash at the end. Raises InvalidRequestError for what may not be called at all."""
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL:
        raise InvalidRequestError("the base URL is not a URL") from None
    if url.scheme != "https" or url.port not in {None, _HTTPS_PORT}:
        raise InvalidRequestError("a base URL must be https, on port 443")
    if not url.host or url.userinfo or _MARKS.search(base_url):
        raise InvalidRequestError("a base URL is a host and a path, nothing else")
    if not _is_public_host(url.raw_host.decode("ascii")):
        raise _forbidden()
    return str(url).rstrip("/")


def _is_public_host(host: str) -> bool:
    """Tell a public address, or a name that could be one's.

    Of an address only the plain form: no resolver reads `0x7f.1`, `127.1` or `2130706433` here. A name has
    two labels at least; the last is no number (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    """
    try:
        return is_public(ip_address(host))
    except ValueError:
        pass
    labels = host.split(".")
    if len(host) > _NAME_CHARS_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    if len(labels) == 1 or _NUMBER.fullmatch(labels[-1]):
        return False
    return not any(host == name or host.endswith(f".{name}") for name in _INNER_NAMES)


def _forbidden() -> InvalidRequestError:
    return InvalidRequestError("this base URL may not be called")


class ThreadedResolver:
    """Looks up callers' hosts in threads of its own: the event loop has four for all names that this process
    calls, and a caller's name server may take its time. It takes it from its own domain, not from others.
    """

    def __init__(self, look_up: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="callers-hosts")
        self._domains: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def __call__(self, host: str) -> list[Address]:
        """Return all addresses of a host. Raises OSError without any, UnicodeError for what is no name."""
        domain = ".".join(host.split(".")[-2:])
        turns = self._domains.setdefault(domain, asyncio.Semaphore(_THREADS_OF_A_DOMAIN))
        await turns.acquire()
        look_up = partial(self._look_up, host, _HTTPS_PORT, type=socket.SOCK_STREAM)
        looking = asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        looking.add_done_callback(lambda _: turns.release())
        found = await asyncio.shield(
            looking
        )  # whoever waits may give up, and its thread is busy all the same
        return [ip_address(entry[4][0]) for entry in found]


class PinningBackend(httpcore2.AsyncNetworkBackend):
    """Connects to a checked address of the host, or not at all."""

    def __init__(self, inner: httpcore2.AsyncNetworkBackend, resolver: Resolver | None = None) -> None:
        self._inner = inner
        self._resolve = resolver or ThreadedResolver()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises InvalidRequestError for a forbidden address, httpcore's ConnectError or ConnectTimeout."""
        addresses = await self._checked(host, port, timeout)
        return await self._inner.connect_tcp(str(addresses[0]), port, timeout, local_address, socket_options)

    async def _checked(self, host: str, port: int, timeout_s: float | None) -> list[Address]:
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await self._resolve(host)
        except TimeoutError:
            raise httpcore2.ConnectTimeout from None
        except OSError:
            raise httpcore2.ConnectError from None
        except UnicodeError:  # an empty label, or one that is too long
            raise InvalidRequestError("the base URL names no host") from None
        if not addresses or port != _HTTPS_PORT or not all(is_public(address) for address in addresses):
            raise _forbidden()
        return addresses


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """httpx2's transport on a pinning pool. Bodies come as they are."""

    def __init__(self, backend: httpcore2.AsyncNetworkBackend, limits: httpx2.Limits) -> None:
        super().__init__(trust_env=False, limits=limits)
        self._pool = httpcore2.AsyncConnectionPool(  # the one way in: httpx2 has no parameter for a backend
            ssl_context=httpx2.create_ssl_context(trust_env=False),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises httpx2.ReadError for a body that is encoded (it could unpack to any size)."""
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.ReadError("an encoded body was not asked for", request=request)
        return response
