"""Who listens to a run: each is told all of it, in order, from where it wants on."""

from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from services.inference.ports import Audience
from shared.contracts.runs import RunChunk, RunProgress
from shared.kernel.names import KeySource

_LISTENERS_MAX: Final = 16
"""Those that came first go first: an edge that is gone does not say so."""


@dataclass(slots=True)
class _Listener:
    """`next`: the number of the message it is told next."""

    reply_to: str
    next: int
    busy: bool = False


class _Chunks(NamedTuple):
    """A message as it is remembered, in a quarter of the memory. Its number is its place in the run."""

    run_id: UUID
    before: int
    chunks: tuple[str, ...]
    key_source: KeySource | None


class Listeners:
    """The edge that asked for a run, and those that attach to it later.

    Only the messages of a run that is kept are remembered: nobody attaches to another.
    """

    def __init__(self, audience: Audience, reply_to: str, *, keeps: bool) -> None:
        self._audience = audience
        self._reply_to = reply_to
        self._keeps = keeps
        self._told: list[RunProgress | _Chunks] = []
        self._listeners = [_Listener(reply_to, 0)]

    @property
    def chunks(self) -> tuple[str, ...]:
        """All chunks of a kept run so far."""
        return tuple(text for said in self._told if isinstance(said, _Chunks) for text in said.chunks)

    async def tell(self, progress: RunProgress) -> None:
        """Tell everybody the next message."""
        if not self._keeps:
            await self._audience.tell(progress, self._reply_to)
            return
        self._told.append(_remembered(progress))
        for listener in tuple(self._listeners):
            await self._catch_up(listener)

    async def attach(self, reply_to: str, from_seq: int) -> None:
        """Tell another one everything from a number on, or one that is here already, once more."""
        listener = next((known for known in self._listeners if known.reply_to == reply_to), None)
        if listener is None:
            listener = _Listener(reply_to, from_seq)
            self._listeners = [*self._listeners, listener][-_LISTENERS_MAX:]
        listener.next = min(listener.next, from_seq)
        await self._catch_up(listener)

    async def _catch_up(self, listener: _Listener) -> None:
        """What comes while one is being told, the same loop tells: so all is in order."""
        if listener.busy:
            return
        listener.busy = True
        try:
            while listener.next < len(self._told):
                progress = self._message(listener.next)
                listener.next += 1
                await self._audience.tell(progress, listener.reply_to)
        finally:
            listener.busy = False

    def _message(self, seq: int) -> RunProgress:
        said = self._told[seq]
        if isinstance(said, _Chunks):
            return RunChunk(
                run_id=said.run_id,
                seq=seq,
                chunks=said.chunks,
                index=said.before,
                key_source=said.key_source,
            )
        return said


def _remembered(progress: RunProgress) -> RunProgress | _Chunks:
    if isinstance(progress, RunChunk):
        return _Chunks(progress.run_id, progress.index, progress.chunks, progress.key_source)
    return progress
