"""What the runs of a session come to, one of them included whether billing has seen it yet or not."""

from dataclasses import dataclass
from uuid import UUID

from services.api_edge.ports import Billing
from shared.contracts.billing import ListUsage, UsageTotals
from shared.contracts.runs import RunUsage
from shared.kernel.errors import PlatformError


@dataclass(frozen=True, slots=True)
class SessionTotals:
    """`cost_micros` (credit micros) leaves out what has no known price."""

    session_id: str
    prompt_tokens: int
    completion_tokens: int
    cost_micros: int

    @classmethod
    def of(cls, session_id: str, totals: UsageTotals, usage: RunUsage | None) -> "SessionTotals":
        """Add a run to the others."""
        tokens = usage.tokens if usage else None
        return cls(
            session_id,
            totals.prompt_tokens + (tokens.prompt if tokens else 0),
            totals.completion_tokens + (tokens.completion if tokens else 0),
            totals.cost_micros + ((usage.cost_micros or 0) if usage else 0),
        )


class SessionUsage:
    def __init__(self, billing: Billing) -> None:
        self._billing = billing

    async def __call__(
        self,
        user_id: str,
        session_id: str | None,
        run_id: UUID | None = None,
        usage: RunUsage | None = None,
    ) -> SessionTotals | None:
        """Return what billing has seen, but of this run its usage as given. None without a session, and when
        billing cannot say: an answer does not fail for that.
        """
        if session_id is None:
            return None
        asked = ListUsage(user_id=user_id, session_id=session_id, excluding_run=run_id, limit=1)
        try:
            others = (await self._billing.usage(asked)).totals
        except PlatformError:
            return None
        return SessionTotals.of(session_id, others, usage)
