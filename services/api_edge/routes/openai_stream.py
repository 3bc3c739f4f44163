"""A run streamed as OpenAI does. Nothing is sent before the first chunk: an error then has its own status."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.types import Receive, Scope, Send

from services.api_edge.domain.json_text import with_member
from services.api_edge.domain.sse import Framing
from services.api_edge.problems import Occasion, Problems
from services.api_edge.routes.key_usage import METADATA, run_metadata
from services.api_edge.routes.run_watch import SLOW_CLIENT_S, run_headers, watched
from services.api_edge.routes.server_sent_events import ServerSentEvents
from services.api_edge.use_cases.running import Running
from services.api_edge.use_cases.session_usage import SessionTotals
from shared.contracts.runs import RunChunk, RunCompleted
from shared.kernel.errors import PlatformError
from shared.runtime.logs import get_logger


class OpenAIStream(ServerSentEvents):
    """`include_usage`: the client asked for the chunk that tells of usage. It is held back until the run is
    over: it is the last, and tells which keys were used and, by `session`, what its session comes to.
    """

    def __init__(
        self,
        run: Running,
        problems: Problems,
        occasion: Occasion,
        *,
        include_usage: bool,
        framing: Framing,
        session: Callable[[RunCompleted], Awaitable[SessionTotals | None]],
    ) -> None:
        self._run = run
        self._problems = problems
        self._occasion = occasion
        self._include_usage = include_usage
        self._session = session
        self._framing = framing
        self._held: str | None = None
        self._told = 0
        super().__init__()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with watched(self._run, receive):
            try:
                first = await self._run.next()
            finally:
                scope["state"]["key_source"] = self._run.key_source
            self.headers.update(run_headers(self._run))
            await self.begin(send)
            await self._send_all(first, scope, send)

    async def _send_all(self, first: RunChunk | RunCompleted, scope: Scope, send: Send) -> None:
        try:
            async with asyncio.timeout_at(self._run.deadline + SLOW_CLIENT_S):
                async for data in self._events(first, scope):
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            # The server closes the connection: the answer has no end.
            get_logger().warning("a client does not read its stream", run_id=str(self._run.run_id))

    async def _events(self, item: RunChunk | RunCompleted, scope: Scope) -> AsyncIterator[bytes]:
        try:
            while isinstance(item, RunChunk):
                if data := self._frames(item):
                    yield data
                item = await self._run.next()
            if self._held is not None:
                session = await self._session(item)
                told = run_metadata(self._run.run_id, item, session)
                yield self._framing.frame(with_member(self._held, METADATA, told))
            if self._framing.end:
                yield self._framing.end
        except PlatformError as error:
            scope["state"]["error_code"] = error.code
            if self._held is not None:
                yield self._framing.frame(self._held)
            yield self._framing.error(self._problems.openai(error, self._occasion)["error"], self._told)

    def _frames(self, chunk: RunChunk) -> bytes:
        self._told += len(chunk.chunks)
        return b"".join(self._framing.frame(text) for text in chunk.chunks if not self._is_kept_back(text))

    def _is_kept_back(self, text: str) -> bool:
        if not self._framing.is_last(text):
            return False
        if self._include_usage:
            self._held = text  # of several the last counts
        return True
