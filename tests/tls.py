"""TLS in front of servers that have none, by an authority of the test's own."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import trustme

from infra.bootstrap import Servers
from tests.gate import free_port

_PIECE: Final = 65_536
_HOST: Final = "127.0.0.1"


@asynccontextmanager
async def over_tls(servers: Servers, authority_file: Path) -> AsyncIterator[Servers]:
    """The same servers by addresses with TLS; clients find their authority in `authority_file`.

    Postgres' client looks there by its address, all others by `SSL_CERT_FILE`.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(authority_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(_HOST).configure_cert(context)
    async with AsyncExitStack() as stack:
        amqp, management, vault, postgres = [
            await stack.enter_async_context(_front(url, context))
            for url in (servers.amqp_url, servers.management_url, servers.vault_addr, servers.postgres_url)
        ]
        verified = f"{postgres}?sslmode=verify-full&sslrootcert={authority_file}"
        yield replace(
            servers, amqp_url=amqp, management_url=management, vault_addr=vault, postgres_url=verified
        )


@asynccontextmanager
async def _front(url: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """Yield the address; everything is cut at the end."""
    parts, port = urlsplit(url), free_port()
    front = _Front(str(parts.hostname), parts.port or 0, context)
    is_postgres = parts.scheme.startswith("postgres")
    greet, tls = (front.visit_negotiating, None) if is_postgres else (front.visit, context)
    listener = await asyncio.start_server(greet, _HOST, port, ssl=tls)
    login, at, _ = parts.netloc.rpartition("@")
    scheme = parts.scheme if is_postgres else f"{parts.scheme}s"
    try:
        yield urlunsplit((scheme, f"{login}{at}{_HOST}:{port}", *parts[2:]))
    finally:
        listener.close()
        await front.close()


class _Front:
    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self._server = host, port
        self._context = context
        self._visits: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    async def visit_negotiating(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As Postgres does it: asked for TLS in the clear, it agrees."""
        await reader.readexactly(8)
        writer.write(b"S")
        await writer.start_tls(self._context)
        await self.visit(reader, writer)

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._server)
        ways = {
            asyncio.create_task(_pump(reader, far_writer)),
            asyncio.create_task(_pump(far_reader, writer)),
        }
        self._visits |= ways
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._visits -= ways
        for end in (writer, far_writer):
            end.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(_PIECE):
        sink.write(piece)
        await sink.drain()
