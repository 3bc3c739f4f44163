"""TLS in front of servers that have none, by an authority of the test's own."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from infra.bootstrap import Servers
from tests.gate import free_port
from tests.passing import HOST, by_way_of, listening, pass_on


@asynccontextmanager
async def over_tls(servers: Servers, authority_file: Path) -> AsyncIterator[Servers]:
    """The same servers by addresses with TLS; clients find their authority in `authority_file`.

    Postgres' client looks there by its address, all others by `SSL_CERT_FILE`.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(authority_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
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
    """Yield the address."""
    parts, port = urlsplit(url), free_port()
    server = str(parts.hostname), parts.port or 0
    is_postgres = parts.scheme.startswith("postgres")

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if is_postgres:  # asked for TLS in the clear, it agrees
            await reader.readexactly(8)
            writer.write(b"S")
            await writer.start_tls(context)
        await pass_on(reader, writer, server)

    told = by_way_of(port, url)
    async with listening(visit, port, None if is_postgres else context):
        yield told if is_postgres else told.replace("://", "s://", 1)
