"""Pages of what has ids that rise with time, newest first: a cursor is the last one's id."""

from uuid import UUID

from services.api_edge.domain.errors import BadInputError


def before_of(cursor: str | None) -> UUID | None:
    """Raise BadInputError for a cursor that is none."""
    try:
        return None if cursor is None else UUID(cursor)
    except ValueError:
        raise BadInputError("wrong_value", "cursor") from None
