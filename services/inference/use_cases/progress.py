"""What is told of a run while it goes on, to the edge that asked for it and to those that attach to it."""

from collections.abc import Sequence
from functools import partial

from services.inference.ports import Audience
from services.inference.use_cases.beginning import Beginning
from services.inference.use_cases.listeners import Listeners
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import (
    KeyUse,
    RunChunk,
    RunCompleted,
    RunFailed,
    RunRequested,
    RunStarted,
    RunUsage,
)
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import PlatformError
from shared.kernel.names import KeySource


class Progress:
    """Every message has a number; the edge sees a lost one by the gap. `silence_s`: how long nothing is said
    before it is told that the run has begun.
    """

    def __init__(self, request: RunRequested, audience: Audience, *, silence_s: float) -> None:
        self._run_id = request.run_id
        self._keeps = request.kept
        self._listeners = Listeners(audience, request.reply_to, keeps=request.kept)
        self._beginning = Beginning(silence_s=silence_s)
        self._source: KeySource | None = None
        self._seq = 0
        self._chunks_told = 0

    @property
    def chunks(self) -> tuple[str, ...]:
        """All chunks of a kept run so far."""
        return self._listeners.chunks

    async def begin(self, attempt: int, source: KeySource) -> None:
        """The provider is about to be called. It is told when nothing else is for a while; after the first
        attempt at once, for another worker may have told of that, whose numbers these follow.
        """
        self._source = source
        if attempt > 1:
            await self._beginning.settle()
            await self._tell_started(attempt, source)
        else:
            self._beginning.of(partial(self._tell_started, attempt, source))

    def end(self) -> None:
        """Say no more: this worker has the run no longer."""
        self._beginning.cancel()

    async def tell_chunks(self, chunks: tuple[str, ...]) -> None:
        await self._beginning.settle()
        message = RunChunk(
            run_id=self._run_id,
            seq=self._next(),
            chunks=chunks,
            index=self._chunks_told,
            key_source=self._source,
        )
        self._chunks_told += len(chunks)
        await self._listeners.tell(message)

    async def tell_completed(
        self, source: KeySource, response: str | None, attempts: Sequence[UsageRecorded]
    ) -> None:
        await self._beginning.settle()
        message = RunCompleted(
            run_id=self._run_id,
            seq=self._next(),
            key_source=source,
            response=response,
            key_uses=KeyUse.all_of(attempts),
            usage=RunUsage.of(attempts),
        )
        await self._listeners.tell(message)

    async def tell_failed(self, error: PlatformError | ErrorBody, source: KeySource | None) -> None:
        await self._beginning.settle()
        body = error if isinstance(error, ErrorBody) else ErrorBody.of(error)
        message = RunFailed(run_id=self._run_id, seq=self._next(), error=body, key_source=source)
        await self._listeners.tell(message)

    async def attach(self, reply_to: str, from_seq: int) -> None:
        """Tell another edge of a kept run, too, from a message's number on."""
        if self._keeps:
            await self._listeners.attach(reply_to, from_seq)

    async def _tell_started(self, attempt: int, source: KeySource) -> None:
        message = RunStarted(run_id=self._run_id, seq=self._next(), attempt=attempt, key_source=source)
        await self._listeners.tell(message)

    def _next(self) -> int:
        self._seq += 1
        return self._seq - 1
