"""`GET /api/runs/{id}/events`: a run as server-sent events, from any of them on."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope, Send

from services.api_edge.domain.errors import BadInputError, EdgeClosingError
from services.api_edge.domain.runs import KeptRun
from services.api_edge.domain.sse import event_frame
from services.api_edge.domain.transcript import Event
from services.api_edge.problems import Occasion, Problems
from services.api_edge.routes.key_usage import METADATA, run_metadata, session_view, usage_view
from services.api_edge.routes.run_views import answer_view
from services.api_edge.routes.run_watch import SLOW_CLIENT_S, watched
from services.api_edge.routes.server_sent_events import ServerSentEvents, send_events
from services.api_edge.use_cases.hearing import Hearing
from services.api_edge.use_cases.running import Running
from services.api_edge.use_cases.session_usage import SessionUsage
from shared.contracts.runs import RunCompleted, RunEnded
from shared.kernel.errors import PlatformError
from shared.runtime.logs import get_logger

LAST_EVENT_ID: Final = "Last-Event-ID"
_DIGITS_MAX: Final = 9
_AFTER_CHUNKS: Final = 2
"""The final response, and what it used."""


class RunEvents(ServerSentEvents):
    """Leaves out what its client has had: all events up to number `after`."""

    def __init__(
        self,
        kept: KeptRun,
        run: Running,
        *,
        after: int,
        problems: Problems,
        occasion: Occasion,
        sessions: SessionUsage,
    ) -> None:
        self._kept = kept
        self._run = run
        self._after = after
        self._problems = problems
        self._occasion = occasion
        self._sessions = sessions
        super().__init__({"Latchkey-Run-Id": str(run.run_id)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with watched(self._run, receive):
            await self.begin(send)
            try:
                async with asyncio.timeout_at(self._run.deadline + SLOW_CLIENT_S):
                    await send_events(self._frames(scope), send)
            except TimeoutError:
                get_logger().warning("a client does not read its events", run_id=str(self._run.run_id))
            finally:
                scope["state"]["key_source"] = self._run.key_source

    async def _frames(self, scope: Scope) -> AsyncGenerator[bytes, None]:
        async for event in self._events(scope):
            if event.number > self._after:
                yield event_frame(str(event.number), event.name, orjson.dumps(event.data))

    async def _events(self, scope: Scope) -> AsyncIterator[Event]:
        hearing = Hearing(self._run, self._kept.kind)
        transcript = hearing.transcript
        try:
            async for event in hearing.pieces():
                yield event
            final = {**answer_view(transcript), METADATA: run_metadata(self._run.run_id, hearing.end)}
            yield transcript.last(1, "final_response", final)
            yield transcript.last(2, "usage", await self._usage(hearing.end))
        except EdgeClosingError:
            return  # the run goes on: its client comes back, to another edge
        except PlatformError as error:
            scope["state"]["error_code"] = error.code
            problem = self._problems.problem(error, self._occasion)
            yield transcript.failure(problem, after=self._after)

    async def _usage(self, completed: RunCompleted) -> dict[str, Any]:
        record, usage = self._kept.record, completed.usage
        session = await self._sessions(record.user_id, self._kept.session_id, record.run_id, usage)
        return {
            **usage_view(usage),
            "model": record.model,
            "provider": record.model.partition("/")[0],
            "id": str(record.run_id),
            **session_view(session),
        }


def event_number(text: str) -> int:
    """Read a number of a `Last-Event-ID`. Raises BadInputError for one that no event has."""
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS_MAX:
        raise BadInputError("wrong_value", LAST_EVENT_ID)
    return int(text)


def has_heard_all(end: RunEnded, after: int) -> bool:
    """Say whether there is nothing left to tell of a run that went well. An error is told whenever asked."""
    return end.error is None and after >= len(end.chunks) + _AFTER_CHUNKS
