"""Places that pass bytes on to a server, and end with all that is connected there."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

PIECE: Final = 65_536
HOST: Final = "127.0.0.1"

Visit: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def by_way_of(port: int, url: str) -> str:
    """Return a server's URL by way of this port."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"{login}{at}{HOST}:{port}", *parts[2:]))


@asynccontextmanager
async def listening(visit: Visit, port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Have every connection visit; what breaks one is the client's to notice."""
    visits: set[asyncio.Task[None]] = set()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(visit(reader, writer))
        visits.add(task)
        await asyncio.wait({task})
        visits.discard(task)
        if not task.cancelled():
            task.exception()  # the client's to notice
        writer.transport.abort()

    listener = await asyncio.start_server(greet, HOST, port, ssl=context)
    try:
        yield
    finally:
        listener.close()
        for task in visits:
            task.cancel()
        await asyncio.gather(*visits, return_exceptions=True)


async def pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: tuple[str, int]
) -> None:
    """Until one of both ends. Raises OSError when the server does not answer."""
    far_reader, far_writer = await asyncio.open_connection(*server)
    try:
        await first_of(_pump(reader, far_writer), _pump(far_reader, writer))
    finally:
        far_writer.transport.abort()


async def first_of(*ways: Coroutine[Any, Any, None]) -> None:
    """Wait until one has ended; end the others."""
    tasks = {asyncio.create_task(way) for way in ways}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(PIECE):
        sink.write(piece)
        await sink.drain()
