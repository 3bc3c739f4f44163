"""What of a Responses request no chat can ask for."""

from typing import Any

from shared.kernel.errors import InvalidRequestError


def unmappable(what: str) -> InvalidRequestError:
    """`what`: in our words, never the caller's."""
    return InvalidRequestError(f"{what} cannot be asked of a provider that has chat completions only")


def objects(value: object, name: str) -> list[dict[str, Any]]:
    """Return a list of objects. Raises InvalidRequestError for anything else."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise InvalidRequestError(f"{name} must be a list of objects")
    return value
