"""Places that pass bytes on to a server, and end with all that is connected there."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

_PIECE: Final = 65_536
HOST: Final = "127.0.0.1"

Visit: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(visit: Visit, port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Have every connection visit; what breaks one is the client's to notice."""
    visits: set[asyncio.Task[None]] = set()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(visit(reader, writer))
        visits.add(task)
        await asyncio.wait({task})
        visits.discard(task)
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
    ways = {
        asyncio.ensure_future(_pump(reader, far_writer)),
        asyncio.ensure_future(_pump(far_reader, writer)),
    }
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        far_writer.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(_PIECE):
        sink.write(piece)
        await sink.drain()
