"""Answers that are streams of server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final

from starlette.responses import Response
from starlette.types import Send

HEARTBEAT_S: Final = 15.0
_HEARTBEAT: Final = b": the run goes on\n\n"
"""So that nobody on the way takes a quiet connection for dead."""


class ServerSentEvents(Response):
    """The base of them. It has no body of its own, so it is not made as starlette makes others."""

    media_type = "text/event-stream"

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self.background = None
        self.status_code = 200
        self.init_headers({"X-Accel-Buffering": "no", **(headers or {})})

    async def begin(self, send: Send) -> None:
        """Send status and headers."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


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
