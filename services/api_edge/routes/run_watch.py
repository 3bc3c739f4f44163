"""What plain and streamed runs share on their way out."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive

from services.api_edge.routes.failures import KEY_SOURCE_HEADER
from services.api_edge.use_cases.active_run import ActiveRun


@contextmanager
def watched(run: ActiveRun, receive: Receive) -> Iterator[None]:
    """Tell the run when its client goes away, and close it at the end."""
    watch = asyncio.create_task(_abandon_when_gone(run, receive))
    try:
        yield
    finally:
        watch.cancel()
        run.close()


def run_headers(run: ActiveRun) -> dict[str, str]:
    headers = {"Latchkey-Run-Id": str(run.run_id), "Cache-Control": "no-store"}
    return headers if run.key_source is None else {**headers, KEY_SOURCE_HEADER: run.key_source.value}


async def _abandon_when_gone(run: ActiveRun, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    run.abandon()
