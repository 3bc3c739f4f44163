"""Workers as the edge hears them, and its way to them, in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import orjson

from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import (
    KeyUse,
    RunChunk,
    RunCompleted,
    RunEnded,
    RunFailed,
    RunProgress,
    RunRequested,
    RunStarted,
    RunUsage,
)
from shared.kernel.errors import PlatformError, RunCancelledError
from shared.kernel.names import KeyService, KeySource, Outcome
from tests.envelopes import event_body
from tests.fakes.api_edge_billing import NOON
from tests.fakes.api_edge_runs import InMemoryRunStore

RESPONSE = '{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"created":1,"model":"gpt-4o-mini"}'  # noqa: E501


def chunk(text: str) -> str:
    """One OpenAI chunk as its JSON text."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return orjson.dumps(body).decode()


class Tell:
    """A worker's voice: numbers its messages, and remembers them."""

    def __init__(self, waiting: WaitingRuns, run: RunRequested) -> None:
        self.run = run
        self.told: list[RunProgress] = []
        self._waiting = waiting
        self._chunks = 0

    @property
    def seq(self) -> int:
        return len(self.told)

    def started(self, source: KeySource = KeySource.USER) -> None:
        self._tell(RunStarted(run_id=self.run.run_id, seq=self.seq, attempt=1, key_source=source))

    def chunk(self, *texts: str) -> None:
        self._tell(RunChunk(run_id=self.run.run_id, seq=self.seq, chunks=texts, index=self._chunks))
        self._chunks += len(texts)

    def completed(
        self,
        response: str | None = None,
        source: KeySource = KeySource.USER,
        uses: tuple[KeyUse, ...] = (),
        usage: RunUsage | None = None,
    ) -> None:
        self._tell(
            RunCompleted(
                run_id=self.run.run_id,
                seq=self.seq,
                key_source=source,
                response=response,
                key_uses=uses,
                usage=usage,
            )
        )

    def failed(self, error: PlatformError, source: KeySource | None = None) -> None:
        self._tell(
            RunFailed(run_id=self.run.run_id, seq=self.seq, error=ErrorBody.of(error), key_source=source)
        )

    def skip(self) -> None:
        """Lose the next message on the way."""
        self.told.append(RunChunk(run_id=self.run.run_id, seq=self.seq, chunks=(), index=self._chunks))

    def again(self, from_seq: int) -> None:
        """Tell what was told before."""
        for progress in self.told[from_seq:]:
            self._waiting.deliver(progress)

    def _tell(self, progress: RunProgress) -> None:
        self.told.append(progress)
        self._waiting.deliver(progress)


def the_end(tell: Tell) -> RunEnded:
    """What a worker publishes of a kept run that is over."""
    last = tell.told[-1]
    chunks = tuple(text for told in tell.told if isinstance(told, RunChunk) for text in told.chunks)
    completed = last if isinstance(last, RunCompleted) else None
    return RunEnded(
        run_id=tell.run.run_id,
        user_id=tell.run.user_id,
        outcome=_outcome(last),
        error=last.error if isinstance(last, RunFailed) else None,
        key_source=getattr(last, "key_source", None),
        response=completed.response if completed else None,
        chunks=chunks,
        key_uses=completed.key_uses if completed else (),
        usage=completed.usage if completed else None,
        ended_at=NOON,
    )


def _outcome(last: object) -> Outcome:
    if isinstance(last, RunFailed) and last.error.code == RunCancelledError.code:
        return Outcome.CANCELLED
    return Outcome.COMPLETED if isinstance(last, RunCompleted) else Outcome.FAILED


Worker = Callable[[Tell], Awaitable[None]]


def key_use(
    source: KeySource = KeySource.USER,
    *,
    attempt: int = 1,
    credential_id: str = "01939a2f-0000-7000-8000-0000000000c1",
    outcome: Outcome = Outcome.COMPLETED,
    error_code: str | None = None,
) -> KeyUse:
    return KeyUse(
        attempt=attempt,
        provider=KeyService.OPENAI,
        model="openai/gpt-4o-mini",
        key_source=source,
        credential_id=credential_id,
        outcome=outcome,
        error_code=error_code,
        timestamp=NOON,
    )


async def answers(tell: Tell) -> None:
    """The worker of most tests: all goes well."""
    tell.started()
    if tell.run.stream:
        tell.chunk(chunk("Hel"), chunk("lo"))
        tell.completed()
    else:
        tell.completed(RESPONSE)


async def is_silent(_tell: Tell) -> None:
    """A worker that never says anything."""


def fails(error: PlatformError, source: KeySource | None = None) -> Worker:
    async def worker(tell: Tell) -> None:
        tell.failed(error, source)

    return worker


class InMemoryRunBus:
    """`worker` takes every run but those that were cancelled before. `error` makes requests fail. What is
    kept ends in `store`.
    """

    reply_to = "reply.api_edge.test"
    is_cut_off = False

    def __init__(self, waiting: WaitingRuns, store: InMemoryRunStore | None = None) -> None:
        self.waiting = waiting
        self.store = store or InMemoryRunStore()
        self.worker: Worker = answers
        self.error: PlatformError | None = None
        self.requested: list[RunRequested] = []
        self.cancelled: list[UUID] = []
        self.attached: list[tuple[UUID, int]] = []
        self._telling: dict[UUID, Tell] = {}
        self._working: set[asyncio.Future[None]] = set()

    async def request(self, run: RunRequested) -> None:
        if self.error:
            raise self.error
        event_body(run, source="api_edge")  # what cannot travel fails here as on the real bus
        self.requested.append(run)
        task = asyncio.ensure_future(self._work(Tell(self.waiting, run)))
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    def cancel(self, run_id: UUID) -> None:
        self.cancelled.append(run_id)

    async def attach(self, run_id: UUID, from_seq: int) -> None:
        if self.error:
            raise self.error
        self.attached.append((run_id, from_seq))
        if (tell := self._telling.get(run_id)) is not None:
            tell.again(from_seq)

    async def _work(self, tell: Tell) -> None:
        self._telling[tell.run.run_id] = tell
        if tell.run.run_id in self.cancelled:
            tell.failed(RunCancelledError())
        else:
            await self.worker(tell)
        if tell.run.kept and tell.told and isinstance(tell.told[-1], RunCompleted | RunFailed):
            await self.store.end([the_end(tell)])
        del self._telling[tell.run.run_id]
