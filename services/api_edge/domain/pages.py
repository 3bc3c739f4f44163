"""Pages of what has ids that rise with time, newest first: a cursor is the last one's id."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from services.api_edge.domain.errors import BadInputError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: tuple[T, ...]
    next_cursor: str | None


def page_of(found: Sequence[T], limit: int, id_of: Callable[[T], UUID]) -> Page[T]:
    """Return the first `limit` of what was found; one more there tells of another page."""
    items = tuple(found[:limit])
    return Page(items, str(id_of(items[-1])) if len(found) > limit else None)


def before_of(cursor: str | None) -> UUID | None:
    """Raise BadInputError for a cursor that is none."""
    try:
        return None if cursor is None else UUID(cursor)
    except ValueError:
        raise BadInputError("wrong_value", "cursor") from None
