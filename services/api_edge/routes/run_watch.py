"""What plain and streamed runs share on their way out."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Final

from starlette.types import Receive

from services.api_edge.routes.failures import KEY_SOURCE_HEADER
from services.api_edge.use_cases.running import Running
from shared.contracts.runs import RunCompleted
from shared.kernel.money import format_credits

SLOW_CLIENT_S: Final = 10.0
"""How long after a run's deadline a client may take to read the rest."""


@contextmanager
def watched(run: Running, receive: Receive) -> Iterator[None]:
    """Tell the run when its client goes away, and close it at the end."""
    watch = asyncio.create_task(_abandon_when_gone(run, receive))
    try:
        yield
    finally:
        watch.cancel()
        run.close()


def run_headers(run: Running, completed: RunCompleted | None = None) -> dict[str, str]:
    """Return what is known of a run by now. The cost is in credits, whoever pays.

    OpenAI's clients find the run's id as their request's.
    """
    headers = {"Latchkey-Run-Id": str(run.run_id), "X-Request-Id": str(run.run_id)}
    if run.key_source is not None:
        headers[KEY_SOURCE_HEADER] = run.key_source.value
    if completed and completed.usage and completed.usage.cost_micros is not None:
        headers["Latchkey-Cost"] = format_credits(completed.usage.cost_micros)
    return headers


async def until_gone(receive: Receive, answering: Coroutine[None, None, None], *, timeout_s: float) -> None:
    """Answer until that is done, the client goes away, or it has taken too long to read."""
    answer, gone = asyncio.create_task(answering), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({answer, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            await answer
    finally:
        answer.cancel()
        gone.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _abandon_when_gone(run: Running, receive: Receive) -> None:
    await _gone(receive)
    run.abandon()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
