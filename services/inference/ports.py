"""What inference needs of the world."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from services.inference.domain.attempt import Attempt, KeyUsed
from shared.contracts.billing import AuthorizeRun
from shared.contracts.models import ListedModel
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunEnded, RunProgress, RunRequested
from shared.contracts.usage import UsageRecorded
from shared.contracts.validation import ValidateKey
from shared.kernel.names import KeyPolicy, KeyService, KeyVerdict, Operation
from shared.kernel.prices import Quote
from shared.kernel.secret import SecretText

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class ResolvedKey:
    """A key, opened. `base_url` is the caller's own (or the team gateway's, which is trusted), None for the
    service's configured address.
    """

    secret: SecretText
    used: KeyUsed
    base_url: str | None = None


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """A user's key that is to be validated. `base_url`: the caller's own."""

    service: KeyService
    secret: SecretText
    base_url: str | None = None


def _unheard(*_: str) -> None:
    return


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One call. `completion_ceiling`: sent as the limit when the body has none; None leaves it out.

    `on_request_id` is told the provider's own name for the call as soon as it answers, if only with an error;
    `on_sent` that the request goes out (that of one's own gateway: that it is about to).
    """

    key: ResolvedKey
    model: str
    body: dict[str, Any] = field(repr=False)
    completion_ceiling: int | None = None
    operation: Operation = Operation.CHAT
    on_request_id: Callable[[str], None] = _unheard
    on_sent: Callable[[], None] = _unheard
    run_id: UUID | None = None
    openai_headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer as its JSON text: a whole one, or one chunk.

    `chars` of generated text are in it; `usage` is the provider's usage object.
    """

    text: str
    chars: int
    usage: dict[str, Any] | None


class Provider(Protocol):
    """Calls a provider once, never again by itself.

    Raises the errors of docs/errors.md (`user_api_key_invalid`, `provider_error`, …); none holds the key.
    """

    async def complete(self, call: ProviderCall) -> Piece: ...

    def stream(self, call: ProviderCall) -> AsyncGenerator[Piece, None]: ...


class KeyResolver(Protocol):
    async def resolve(
        self, request: RunRequested, attempt: int, *, excluding: tuple[str, ...], timeout_s: float
    ) -> ResolvedKey:
        """Return the key of one attempt. Raises what key_vault refuses with, or `service_unavailable`."""
        ...


class KeyOpener(Protocol):
    async def open(self, ask: ValidateKey, *, timeout_s: float) -> OpenedKey:
        """Return the key to be validated. Raises what key_vault refuses with, or `service_unavailable`."""
        ...


class KeyChecker(Protocol):
    async def check(self, key: OpenedKey, *, timeout_s: float) -> KeyVerdict:
        """Ask the key's provider. Raises `invalid_request` for an address that may not be called."""
        ...


class ModelLister(Protocol):
    async def models(self) -> tuple[ListedModel, ...]:
        """Return OpenRouter's public list. Raises `provider_error` when it cannot be read."""
        ...


class RunAuthorizer(Protocol):
    async def authorize(self, ask: AuthorizeRun, *, timeout_s: float) -> Quote | None:
        """Have the worst case held; return what the attempt will be rated with.

        Raises `insufficient_credits`, `price_unknown`, `service_unavailable`.
        """
        ...


class QuoteFinder(Protocol):
    async def find(self, provider: KeyService, model: str, *, timeout_s: float) -> Quote | None:
        """Return what a model costs now, None when nobody knows. Raises `service_unavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """An attempt as recorded. `usage` is there once it has ended; `stale`: its worker's heart stopped."""

    attempt: Attempt
    stale: bool
    usage: UsageRecorded | None = None
    error: ErrorBody | None = None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What an attempt's row says of its run."""

    user_id: str
    flow: str
    policy: KeyPolicy
    provider: KeyService
    model: str
    stream: bool
    requested_at: datetime
    kept: bool
    session_id: str | None


@dataclass(frozen=True, slots=True)
class AbandonedAttempt:
    """An attempt without an end, whose worker is lost and whose run should long be over."""

    attempt: Attempt
    run: StoredRun


class AttemptStore(Protocol):
    """The claims and endings of attempts. Raises `database_unavailable`."""

    async def claim(self, attempt: Attempt, request: RunRequested) -> bool:
        """Take an attempt; False when it was taken before. One of unknown fate may be made again."""
        ...

    async def note_key(self, attempt: Attempt) -> bool:
        """Write down the key before it is used; False when the attempt has been ended by somebody else."""
        ...

    async def finish(
        self, usage: UsageRecorded, error: ErrorBody | None, end: RunEnded | None = None
    ) -> bool:
        """End an attempt, once and for all; False when it had ended otherwise before. `error` ended the run.

        `end`: what is kept of its run, of which this was the last attempt. One of unknown fate may be made
        again.
        """
        ...

    async def attempts(self, run_id: UUID, *, stale_after_s: float) -> tuple[StoredAttempt, ...]:
        """Return a run's attempts in order."""
        ...

    async def abandoned(
        self, *, own: str, stale_after_s: float, overdue_s: float, limit: int
    ) -> tuple[AbandonedAttempt, ...]:
        """Return attempts whose run's deadline has passed by `overdue_s`: of lost workers, and of `own`."""
        ...

    async def beat(self, worker: str) -> None:
        """Tell that a worker lives."""
        ...


class Outbox(Protocol):
    """The usage events of attempts that have ended, and the ends of kept runs.

    Raises `database_unavailable`.
    """

    async def note_published(self, usage_ids: Sequence[UUID]) -> None:
        """Note that these were published; once is enough, and what another has in hand is left to it."""
        ...

    async def relay(
        self, publish: Callable[[UsageRecorded], Awaitable[None]], *, ended_before_s: float, limit: int
    ) -> int:
        """Publish and note the oldest that are not noted yet; return how many there were.

        Workers share them: what one has in hand, no other gets. Raises what `publish` raised, once those that
        could be published are noted.
        """
        ...

    async def forget(self, born_before: UUID, *, limit: int) -> int:
        """Delete the oldest attempts of runs with smaller ids; return how many. Workers share them.

        Only of runs whose deadline is a day past, and all of whose attempts are noted as published.
        """
        ...

    async def drop_ends(self, run_ids: Sequence[UUID]) -> None:
        """Forget the ends of runs that were published."""
        ...

    async def relay_ends(
        self, publish: Callable[[RunEnded], Awaitable[None]], *, ended_before_s: float, limit: int
    ) -> int:
        """Publish and forget the oldest ends that are still there, as `relay` does with usage."""
        ...


class UsageLog(Protocol):
    """Where events go. Raises `bus_unavailable`."""

    async def record(self, usage: UsageRecorded) -> None:
        """Publish, confirmed."""
        ...

    async def record_end(self, end: RunEnded) -> None:
        """Publish, confirmed."""
        ...


class Audience(Protocol):
    async def tell(self, progress: RunProgress, reply_to: str) -> None:
        """Tell whoever waits for a run; when nobody can be told, nothing happens."""
        ...
