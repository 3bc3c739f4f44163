"""uvicorn as a part of this process: serves while awaited, ends open requests when cancelled."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from services.api_edge.bounded_http import BoundedHttp
from services.api_edge.settings import HttpSettings

_KEEP_ALIVE_S = 75


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process: they cancel us."""
        yield


async def serve(app: ASGIApp, settings: HttpSettings) -> None:
    """Serve until cancelled; then take no more requests and give the open ones `grace_s`."""
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.grace_s,
        )
    )
    serving = asyncio.create_task(server.serve())
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
