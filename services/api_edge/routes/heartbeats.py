"""Something is said now and then, so that nobody on the way takes a quiet connection for dead."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from starlette.types import Send

HEARTBEAT_S: Final = 15.0
_HEARTBEAT: Final = b": the run goes on\n\n"


async def send_events(frames: AsyncGenerator[bytes, None], send: Send) -> None:
    """Send the frames as the body of an answer that has begun."""
    async for data in _with_heartbeats(frames):
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _with_heartbeats(frames: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """Yield the frames, and comments while none comes."""
    coming = asyncio.ensure_future(anext(frames, None))
    try:
        while True:
            await asyncio.wait({coming}, timeout=HEARTBEAT_S)
            if not coming.done():
                yield _HEARTBEAT
                continue
            if (data := coming.result()) is None:
                return
            yield data
            coming = asyncio.ensure_future(anext(frames, None))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await frames.aclose()
