"""A user's kept runs, page by page."""

from dataclasses import dataclass

from services.api_edge.domain.pages import before_of
from services.api_edge.ports import KeptRun, RunStore


@dataclass(frozen=True, slots=True)
class RunPage:
    items: tuple[KeptRun, ...]
    next_cursor: str | None


class ListRuns:
    def __init__(self, runs: RunStore) -> None:
        self._runs = runs

    async def __call__(
        self, user_id: str, *, limit: int, cursor: str | None, session_id: str | None
    ) -> RunPage:
        """Newest first. Raises BadInputError for a cursor that is none."""
        before = before_of(cursor)
        found = await self._runs.page(user_id, limit=limit + 1, before=before, session_id=session_id)
        items = found[:limit]
        return RunPage(items, str(items[-1].record.run_id) if len(found) > limit else None)
