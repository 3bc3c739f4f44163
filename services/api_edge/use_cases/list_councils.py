"""A user's councils, page by page."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from services.api_edge.domain.pages import before_of
from services.api_edge.ports import Council, CouncilStore, RunStore
from shared.kernel.names import Outcome


@dataclass(frozen=True, slots=True)
class CouncilPage:
    """`outcomes`: of all their runs that were asked for; None of one that goes on."""

    items: tuple[Council, ...]
    outcomes: Mapping[UUID, Outcome | None]
    next_cursor: str | None


class ListCouncils:
    def __init__(self, councils: CouncilStore, runs: RunStore) -> None:
        self._councils = councils
        self._runs = runs

    async def __call__(
        self, user_id: str, *, limit: int, cursor: str | None, session_id: str | None
    ) -> CouncilPage:
        """Newest first. Raises BadInputError for a cursor that is none."""
        before = before_of(cursor)
        found = await self._councils.page(user_id, limit=limit + 1, before=before, session_id=session_id)
        items = found[:limit]
        outcomes = await self._runs.outcomes(user_id, [run for council in items for run in council.run_ids])
        return CouncilPage(items, outcomes, str(items[-1].council_id) if len(found) > limit else None)
