"""A user's kept runs, page by page."""

from dataclasses import dataclass
from uuid import UUID

from services.api_edge.domain.errors import BadInputError
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
        """Newest first: a cursor is the last run's id. Raises BadInputError for one that is none."""
        found = await self._runs.page(user_id, limit=limit + 1, before=_before(cursor), session_id=session_id)
        items = found[:limit]
        return RunPage(items, str(items[-1].record.run_id) if len(found) > limit else None)


def _before(cursor: str | None) -> UUID | None:
    try:
        return None if cursor is None else UUID(cursor)
    except ValueError:
        raise BadInputError("wrong_value", "cursor") from None
