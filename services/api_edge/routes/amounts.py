"""Amounts as clients write them: JSON numbers, or plain decimal strings."""

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

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
