"""A run, heard to its end."""

from collections.abc import AsyncIterator

from services.api_edge.domain.run_call import RunKind
from services.api_edge.domain.transcript import Event, Transcript
from services.api_edge.use_cases.running import Running
from shared.contracts.runs import RunChunk, RunCompleted


class Hearing:
    def __init__(self, run: Running, kind: RunKind) -> None:
        self.run = run
        self.transcript = Transcript(kind)
        self._completed: RunCompleted | None = None

    @property
    def end(self) -> RunCompleted:
        """What the run came to. Raises RuntimeError before its pieces are over."""
        if self._completed is None:
            raise RuntimeError("the run is not over")
        return self._completed

    async def pieces(self) -> AsyncIterator[Event]:
        """Raises what `Running.next` does."""
        while isinstance(item := await self.run.next(), RunChunk):
            for event in self.transcript.pieces(item):
                yield event
        if item.response is not None:
            self.transcript.take(item.response)
        self._completed = item
