"""Messages of a run: the request, what the worker tells the waiting edge, and the cancel."""

from collections.abc import Iterable, Sequence
from typing import Any, Self, TypeAlias
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.contracts.message import Message
from shared.contracts.rpc import ErrorBody
from shared.contracts.sealed import RequestKey
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.lengths import SESSION_ID_CHARS_MAX
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Operation, Outcome


class RunRequested(Message):
    """One inference request. A worker that takes it after `start_by` ends it as `expired`, uncalled."""

    EXCHANGE = "inference"
    ROUTING_KEY = "run.requested.v1"

    run_id: UUID
    user_id: str
    flow: str
    policy: KeyPolicy
    provider: KeyService
    model: str
    """`provider/model`, as asked for and catalogued."""
    stream: bool
    operation: Operation = Operation.CHAT
    body: dict[str, Any]
    """OpenAI's parameters as the client sent them, without `model` and `stream`; a chat's without
    `include_usage` of its `stream_options`, too.
    """
    openai_headers: dict[str, str] = Field(default_factory=dict)
    """The client's own for OpenAI (`openai-organization`, …), to go along with the caller's own key only."""
    request_key: RequestKey | None = None
    further_keys: tuple[RequestKey, ...] = ()
    """Those sent beside it, to be tried after it, in this order."""
    session_key: RequestKey | None = None
    report_only: bool = False
    """The flow's policy is only reported on, not enforced."""
    reply_to: str
    """Routing key on the exchange `replies`."""
    requested_at: AwareDatetime
    start_by: AwareDatetime
    deadline: AwareDatetime
    deadline_asked: bool = False
    """The client asked for this deadline, sooner than ours: it pays as if it had cancelled then."""
    retry_on_worker_loss: bool = False
    kept: bool = False
    """It goes on without its client, edges may attach to it, and its end is told by `RunEnded`."""
    session_id: str | None = Field(default=None, max_length=SESSION_ID_CHARS_MAX)
    """The client's name for the runs that belong together; their cost is summed up."""


class _Progress(Message):
    EXCHANGE = "replies"

    run_id: UUID
    seq: int = Field(ge=0)
    """0, 1, 2, … over all progress messages of a run; a gap means a lost message."""


class RunStarted(_Progress):
    """A key is resolved (and a hold taken), the provider called. Told when nothing else is for a second."""

    ROUTING_KEY = "run.started.v1"

    attempt: int
    key_source: KeySource


class RunChunk(_Progress):
    """Pieces of a stream of OpenAI's (`chat.completion.chunk`, event of a Response), each as JSON text."""

    ROUTING_KEY = "run.chunk.v1"

    chunks: tuple[str, ...]
    index: int = Field(default=0, ge=0)
    """How many chunks of the run came before these."""
    key_source: KeySource | None = None


class KeyUse(BaseModel):
    """Which key one attempt used, and what came of it: what the client is told of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    attempt: int
    provider: KeyService
    model: str
    key_source: KeySource
    credential_id: str
    outcome: Outcome
    error_code: str | None = None
    timestamp: AwareDatetime

    @classmethod
    def of(cls, usage: UsageRecorded) -> Self | None:
        """Return None for an attempt that had no key."""
        if usage.key_source is None or usage.credential_id is None:
            return None
        return cls(
            attempt=usage.attempt,
            provider=usage.provider,
            model=usage.model,
            key_source=usage.key_source,
            credential_id=usage.credential_id,
            outcome=usage.outcome,
            error_code=usage.error_code,
            timestamp=usage.started_at,
        )

    @classmethod
    def all_of(cls, attempts: Iterable[UsageRecorded]) -> tuple[Self, ...]:
        """Return those of all attempts that had a key."""
        uses = (cls.of(attempt) for attempt in attempts)
        return tuple(use for use in uses if use is not None)


class RunUsage(BaseModel):
    """What an answer used: `tokens` of the attempt that gave it, `cost_micros` (credit micros, whoever pays)
    of all attempts, as far as it is known; None when the answer's own is not.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    tokens: TokenCounts
    cost_micros: int | None

    @classmethod
    def of(cls, attempts: Sequence[UsageRecorded]) -> Self | None:
        """Return None of none. The last one gave the answer."""
        if not attempts:
            return None
        known = [attempt.cost_micros for attempt in attempts if attempt.cost_micros is not None]
        is_known = attempts[-1].cost_micros is not None
        return cls(tokens=attempts[-1].tokens, cost_micros=sum(known) if is_known else None)


class RunCompleted(_Progress):
    """The end. `response` is a `chat.completion`, a Response or a list of embeddings as OpenAI writes it, in
    JSON text; None when it was streamed.
    """

    ROUTING_KEY = "run.completed.v1"

    key_source: KeySource
    response: str | None = None
    key_uses: tuple[KeyUse, ...] = ()
    """Of every attempt that had a key, in order."""
    usage: RunUsage | None = None


class RunFailed(_Progress):
    """The end, by an error."""

    ROUTING_KEY = "run.failed.v1"

    error: ErrorBody
    key_source: KeySource | None = None


RunProgress: TypeAlias = RunStarted | RunChunk | RunCompleted | RunFailed


class RunEnded(Message):
    """A kept run is over: all that its clients may still ask for. Told at least once, once written down.

    Completed, it has a `response` (one JSON text) or, streamed, `chunks`; else an `error`, and the chunks
    before it, if its worker still had them.
    """

    EXCHANGE = "runs"
    ROUTING_KEY = "run.ended.v1"

    run_id: UUID
    user_id: str
    outcome: Outcome
    error: ErrorBody | None = None
    key_source: KeySource | None = None
    response: str | None = None
    chunks: tuple[str, ...] = ()
    key_uses: tuple[KeyUse, ...] = ()
    usage: RunUsage | None = None
    ended_at: AwareDatetime


class AttachRun(Message):
    """To every worker: whoever has this kept run tells its progress from `from_seq` on to `reply_to`, too."""

    EXCHANGE = "control"
    ROUTING_KEY = "run.attach.v1"

    run_id: UUID
    reply_to: str
    from_seq: int = Field(default=0, ge=0)


class CancelRun(Message):
    """To every worker: stop this run; nobody waits for it any more."""

    EXCHANGE = "control"
    ROUTING_KEY = "run.cancel.v1"

    run_id: UUID
