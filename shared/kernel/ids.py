"""Identifiers: ours are UUIDv7 (RFC 9562), so that they sort by time of birth; users' are others' to make."""

from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

USER_ID_CHARS_MAX: Final = 128


def new_id() -> UUID:
    return uuid7()


def is_user_id(value: object) -> bool:
    """Say whether a value is a user's id: 1 to 128 printable characters."""
    return isinstance(value, str) and 0 < len(value) <= USER_ID_CHARS_MAX and value.isprintable()
