"""A user's councils, page by page."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from services.api_edge.domain.council import Council
from services.api_edge.domain.pages import Page, before_of, page_of
from services.api_edge.ports import CouncilStore, RunStore
from shared.kernel.names import Outcome


@dataclass(frozen=True, slots=True)
class ListedCouncils:
    """`outcomes`: of all their runs that were asked for; None of one that goes on."""

    page: Page[Council]
    outcomes: Mapping[UUID, Outcome | None]


class ListCouncils:
    def __init__(self, councils: CouncilStore, runs: RunStore) -> None:
        self._councils = councils
        self._runs = runs

    async def __call__(
        self, user_id: str, *, limit: int, cursor: str | None, session_id: str | None
    ) -> ListedCouncils:
        """Newest first. Raises BadInputError for a cursor that is none."""
        before = before_of(cursor)
        found = await self._councils.page(user_id, limit=limit + 1, before=before, session_id=session_id)
        page = page_of(found, limit, lambda council: council.council_id)
        run_ids = [run_id for council in page.items for run_id in council.run_ids]
        return ListedCouncils(page, await self._runs.outcomes(user_id, run_ids))
