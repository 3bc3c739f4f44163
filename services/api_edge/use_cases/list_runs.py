"""A user's kept runs, page by page."""

from services.api_edge.domain.pages import Page, before_of, page_of
from services.api_edge.domain.runs import KeptRun
from services.api_edge.ports import RunStore


class ListRuns:
    def __init__(self, runs: RunStore) -> None:
        self._runs = runs

    async def __call__(
        self, user_id: str, *, limit: int, cursor: str | None, session_id: str | None
    ) -> Page[KeptRun]:
        """Newest first. Raises BadInputError for a cursor that is none."""
        before = before_of(cursor)
        found = await self._runs.page(user_id, limit=limit + 1, before=before, session_id=session_id)
        return page_of(found, limit, lambda run: run.record.run_id)
