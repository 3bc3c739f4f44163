"""Amounts as clients write them: JSON numbers, or plain decimal strings."""

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from services.api_edge.routes.wire import Input, Shown

_CREDITS_MAX: Final = 10**9
_PLAIN: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


def _is_plain(value: Any) -> Any:
    """Python reads `1_000`, `1e3` and others' digits as numbers, too; a client may mean something else."""
    if isinstance(value, bool) or (isinstance(value, str) and not _PLAIN.fullmatch(value)):
        raise ValueError("not a plain decimal")
    return value


def _is_something(value: Decimal) -> Decimal:
    if not value:
        raise ValueError("nothing")
    return value


_Plain = Annotated[Decimal, BeforeValidator(_is_plain)]
Credits = Annotated[_Plain, Field(gt=0, le=_CREDITS_MAX, decimal_places=6)]
"""More than 0."""
CreditsChange = Annotated[
    _Plain, Field(ge=-_CREDITS_MAX, le=_CREDITS_MAX, decimal_places=6), AfterValidator(_is_something)
]
"""More or less than 0."""
IdempotencyKey = Annotated[Shown, Field(min_length=1, max_length=200)]


class PageQuery(Input):
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=500)
