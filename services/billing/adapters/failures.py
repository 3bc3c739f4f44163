"""What Postgres refuses, as typed errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import orjson

from shared.kernel.errors import InvalidRequestError
from shared.runtime.postgres import database_errors

_UNKEEPABLE = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    orjson.JSONEncodeError,
    ValueError,  # asyncpg's own, for an argument out of its type's range
)

_AWAY = (OSError, asyncpg.ClientConfigurationError)


@contextmanager
def store_errors() -> Iterator[None]:
    """As `database_errors`; values that cannot be kept are InvalidRequestError, which does not say them."""
    with database_errors():
        try:
            yield
        except _AWAY:
            raise  # a certificate that is not trusted, say: an OSError and a ValueError
        except _UNKEEPABLE as error:
            raise InvalidRequestError(f"cannot be kept: {type(error).__name__}") from None
