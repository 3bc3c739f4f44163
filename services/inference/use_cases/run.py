"""A run while this worker has it: who may stop it, when it must end, what it holds."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from enum import Enum, auto
from typing import Final

from services.inference.domain.run_end import run_ended, too_long
from services.inference.ports import Audience, Clock
from services.inference.use_cases.answer_memory import AnswerShare
from services.inference.use_cases.limits import Limits
from services.inference.use_cases.progress import Progress
from shared.contracts.message import text_bytes
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunEnded, RunRequested
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import PlatformError, ServiceUnavailableError
from shared.kernel.names import INFERENCE

_MESSAGE_BYTES: Final = 160
"""What a message takes in memory beside its texts."""
_ANSWER_BYTES: Final = 64 * 1024
"""For most answers that is enough."""
_FULL_S: Final = 10.0


class Stop(Enum):
    """Why a run was stopped."""

    CANCELLED = auto()
    SHUTDOWN = auto()
    DEADLINE = auto()
    REVOKED = auto()


class StoppedError(Exception):
    """Ends the work on a run, from inside `Run.on_leash()`."""

    def __init__(self, reason: Stop) -> None:
        super().__init__(reason.name)
        self.reason = reason


class Run:
    """`credential_id`: of the key in use, None between attempts; `excluding`: those that have failed."""

    def __init__(
        self, request: RunRequested, audience: Audience, now: Clock, *, share: AnswerShare, limits: Limits
    ) -> None:
        self.request = request
        self.done = asyncio.Event()
        self.stopped: Stop | None = None
        self.credential_id: str | None = None
        self.excluding: tuple[str, ...] = ()
        self.progress = Progress(request, audience, silence_s=limits.silence_s)
        self._now = now
        self._share = share
        self._limits = limits
        self._bytes = 0
        self._ended: dict[int, UsageRecorded] = {}
        self._leash: asyncio.Timeout | None = None
        self._telling_late: asyncio.Task[None] | None = None

    @property
    def remaining_s(self) -> float:
        """Seconds to the deadline, never negative."""
        return max(0.0, (self.request.deadline - self._now()).total_seconds())

    def has_passed(self, moment: datetime) -> bool:
        return self._now() > moment

    def note(self, ended: UsageRecorded) -> None:
        """Keep in mind an attempt that has ended, here or in another worker."""
        self._ended[ended.attempt] = ended

    @property
    def has_used_credits(self) -> bool:
        """Whether an attempt before may have had a hold."""
        sources = (usage.key_source for usage in self._ended.values())
        return any(source is not None and not source.is_byok for source in sources)

    def exclude(self, credential_id: str) -> None:
        """Use this key no more."""
        if credential_id not in self.excluding:
            self.excluding = (*self.excluding, credential_id)

    def stop(self, reason: Stop) -> None:
        """Stop the work at its next step; the first reason stands."""
        if self.stopped is None:
            self.stopped = reason
        if self._leash is not None and not self._leash.expired():
            self._leash.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def on_leash(self) -> AsyncIterator[None]:
        """Work that `stop()` and the deadline may cut short, or that never begins. Raises StoppedError."""
        if self.stopped is not None:
            raise StoppedError(self.stopped)
        try:
            async with asyncio.timeout(self.remaining_s) as self._leash:
                yield
        except TimeoutError:
            if self._leash is None or not self._leash.expired():
                raise
            raise StoppedError(self.stopped or Stop.DEADLINE) from None
        finally:
            self._leash = None

    @contextmanager
    def telling_when_late(self, error: PlatformError) -> Iterator[None]:
        """Tell `error` if the work inside is not done by `start_by`; the run may then not start any more."""
        wait_s = (self.request.start_by - self._now()).total_seconds()
        if wait_s <= 0:
            yield
            return
        timer = asyncio.get_running_loop().call_later(wait_s, self._tell_late, error)
        try:
            yield
        finally:
            timer.cancel()

    def _tell_late(self, error: PlatformError) -> None:
        self._telling_late = asyncio.create_task(self.progress.tell_failed(error, None))

    @property
    def told_late(self) -> bool:
        return self._telling_late is not None

    def over(self) -> None:
        """Say no more: this worker has it no longer."""
        self.progress.end()
        self.done.set()

    async def tell_chunks(self, chunks: tuple[str, ...]) -> None:
        """Those of a kept run are held until it has ended."""
        if self.request.kept:
            self._share.hold(_MESSAGE_BYTES)
        await self.progress.tell_chunks(chunks)

    def measure(self, text: str) -> int:
        """Return how long a piece of the answer is in a message.

        Raises ProviderError for one that is too long, or one too many of an answer that is kept, and
        ServiceUnavailableError when this worker keeps too much already.
        """
        size = text_bytes(text)
        self._bytes = self._bytes + size if self.request.kept else size
        if self._bytes > self._limits.answer_bytes_max:
            raise too_long()
        if self._is_held:
            self._hold(sys.getsizeof(text))
        return size

    def check_room(self) -> None:
        """Raise ServiceUnavailableError for an answer that could hardly be held, before it costs anything."""
        if self._is_held and not self._share.has_room(_ANSWER_BYTES):
            raise _full()

    @property
    def _is_held(self) -> bool:
        """Whether the whole answer is in memory at once."""
        return self.request.kept or not self.request.stream

    def _hold(self, size: int) -> None:
        if not self._share.has_room(size):
            raise _full()
        self._share.hold(size)

    def end(self, usage: UsageRecorded, error: ErrorBody | None, response: str | None) -> RunEnded | None:
        """Return what is kept of the run once its last attempt has ended; None when nothing is."""
        if not self.request.kept:
            return None
        self.note(usage)
        return run_ended(self.attempts, error, response, self.progress.chunks)

    @property
    def attempts(self) -> list[UsageRecorded]:
        """Those that have ended, in order."""
        return [self._ended[attempt] for attempt in sorted(self._ended)]


def _full() -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "this worker holds too many answers", service=INFERENCE, retry_after_s=_FULL_S
    )
