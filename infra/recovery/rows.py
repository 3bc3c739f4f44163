"""Between statements and rows."""

from collections.abc import Iterable
from typing import Any


def columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Return `width` arrays, also of no rows."""
    listed = list(rows)
    return [[row[place] for row in listed] for place in range(width)]
