"""The wish for a run, as it came in."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from services.api_edge.domain.chat import OpenAICall
from services.api_edge.domain.idempotency import Idempotency
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.run_call import RunKind


@dataclass(frozen=True, slots=True)
class StartRun:
    """`headers`: the request's, names in lower case. `kept`: the client may come back for it; so it may with
    an idempotency key.
    """

    run_id: UUID
    caller: Caller
    call: OpenAICall
    flow: str | None
    headers: Mapping[str, str]
    kind: RunKind = RunKind.CHAT
    session_id: str | None = None
    kept: bool = False
    idempotency: Idempotency | None = None
    timeout_s: float | None = None
    """What the client asks for; ours holds when that is shorter (`RunTimes.for_client`)."""
    is_insistent: bool = False
    """Whoever starts it starts it again until the workers have it: when they cannot be asked, it stays kept.
    What came unconfirmed may come late, so it may begin as late as its deadline.
    """
    council_id: UUID | None = None
    """The council that it is a run of: its headers came for runs at other providers, too."""
