"""The two HTTP clients that lead out. They follow nothing, heed no proxy and keep no cookie."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpcore2
import httpx2

from services.inference.adapters.aiohttp_transport import AiohttpTransport
from services.inference.adapters.egress import GuardedTransport
from services.inference.adapters.error_bodies import cut_error

_KEPT_OPEN_S: Final = 2.0
"""How long an idle connection to a provider is kept: well below what servers (5 s and more) bear themselves,
for a call on one that the provider is just closing is lost, and must not be repeated."""

_CHECKED_AT_ONCE: Final = 64
"""Keys, as many as the RPC server has in hand: however long they take, runs have connections of their own."""


@dataclass(frozen=True)
class HttpClients:
    """`configured` calls our own addresses; `guarded` a caller's, behind the egress guard."""

    configured: httpx2.AsyncClient
    guarded: httpx2.AsyncClient


@asynccontextmanager
async def http_clients(
    concurrency: int, outside: httpcore2.AsyncNetworkBackend
) -> AsyncIterator[HttpClients]:
    """`concurrency`: runs at once. `outside`: the guarded way to callers' addresses."""
    limits = httpx2.Limits(
        max_connections=2 * concurrency + _CHECKED_AT_ONCE,
        max_keepalive_connections=concurrency,
        keepalive_expiry=_KEPT_OPEN_S,
    )
    async with (
        client_over(AiohttpTransport(limits)) as configured,
        client_over(GuardedTransport(outside, limits)) as guarded,
    ):
        yield HttpClients(configured, guarded)


def client_over(transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncClient:
    """Users share a client: a cookie that one user's gateway sets must not go with another's call."""
    return httpx2.AsyncClient(
        trust_env=False,
        follow_redirects=False,
        transport=transport,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        event_hooks={"response": [cut_error]},
    )
