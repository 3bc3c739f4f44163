"""Where a list goes on, as its readers carry it: numbers that mean nothing to them."""

import base64
import binascii
from typing import Final

from shared.kernel.errors import InvalidRequestError

END: Final = 2**63 - 1
"""After every row."""


def dump_cursor(*numbers: int) -> str:
    return base64.urlsafe_b64encode("|".join(map(str, numbers)).encode()).decode()


def load_cursor(cursor: str, count: int) -> tuple[int, ...]:
    """Return its `count` numbers. Raises InvalidRequestError for one that is not ours."""
    try:
        numbers = tuple(int(text) for text in base64.urlsafe_b64decode(cursor).decode().split("|"))
    except (ValueError, binascii.Error):
        raise _not_ours() from None
    is_kept = all(0 <= number <= END for number in numbers)
    if len(numbers) != count or not is_kept or dump_cursor(*numbers) != cursor:
        raise _not_ours()
    return numbers


def _not_ours() -> InvalidRequestError:
    return InvalidRequestError("cursor is not one of ours")
