"""Identifiers: ours are UUIDv7 (RFC 9562), so that they sort by time of birth; users' are others' to make."""

from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from shared.kernel.lengths import USER_ID_CHARS_MAX


def new_id() -> UUID:
    return uuid7()


def first_id_of(moment: datetime) -> UUID:
    """Return the smallest UUIDv7 of a moment's millisecond: whatever has a smaller id was born before it.

    Source: RFC 9562, section 5.7 (milliseconds since 1970 in the first 48 bits, then version and variant).
    """
    return UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62)


def is_user_id(value: object) -> bool:
    """Say whether a value is a user's id: 1 to 128 printable characters."""
    return isinstance(value, str) and 0 < len(value) <= USER_ID_CHARS_MAX and value.isprintable()
