"""Postgres: one pool a service, and its failures as one typed error."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from errno import errorcode
from ssl import SSLError
from typing import TypeAlias, TypeVar

import asyncpg

from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.secret import SecretText
from shared.runtime.logs import get_logger

ResultT = TypeVar("ResultT")
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

_RETRY_S = 0.5
_IDLE_S = 30.0
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that is just being killed, used meanwhile
    asyncpg.InvalidCatalogNameError,  # a database that is being restored
    asyncpg.InvalidAuthorizationSpecificationError,  # a password that was changed meanwhile
    asyncpg.ReadOnlySQLTransactionError,  # a primary that was demoted
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.TransactionRollbackError,  # a deadlock with somebody else's statements
    asyncpg.ObjectNotInPrerequisiteStateError,  # a lock that is not given up in time; no connections allowed
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.PostgresSystemError,  # its disk
)
"""What is no statement's own fault: the same one may work later."""


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what a missing, starting, stopping or ailing Postgres raises into DatabaseUnavailableError.

    The log has the reason. What was rolled back for others' sake may be tried again at once.
    """
    try:
        yield
    except _AWAY as error:
        get_logger().warning("the database failed", reason=_reason(error))
        at_once = isinstance(error, asyncpg.TransactionRollbackError)
        raise DatabaseUnavailableError(retry_after_s=0.1 if at_once else 2) from None


def _reason(error: Exception) -> str:
    """Return which error it is, in words that hold nothing of what was to be written."""
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, SSLError):
        return f"{name} {errorcode.get(error.errno, error.errno)}"
    return name


def changed_rows(tag: str) -> int:
    """Return how many rows a statement has changed: the last word of Postgres' command tag."""
    return int(tag.rpartition(" ")[2])


async def until_back(
    operation: Callable[[], Awaitable[ResultT]], *, retry_s: float, what: str, **context: object
) -> ResultT:
    """Repeat an operation while it raises DatabaseUnavailableError, and log that `what` waits.

    For what a service cannot begin without, and for messages in hand: giving them back would use up their
    deliveries.
    """
    while True:
        try:
            return await operation()
        except DatabaseUnavailableError as error:
            get_logger().warning(f"{what} waits for the database", code=error.code, **context)
            await asyncio.sleep(retry_s)


async def create_pool(url: SecretText, *, max_size: int = 8, command_timeout_s: float = 10) -> asyncpg.Pool:
    """Open a pool, waiting for Postgres as long as it takes."""
    while True:
        try:
            return await asyncpg.create_pool(
                url.reveal(),
                min_size=1,
                max_size=max_size,
                timeout=5,
                command_timeout=command_timeout_s,
                max_inactive_connection_lifetime=_IDLE_S,
                reset=_nothing_to_reset,
            )
        except _AWAY as error:
            get_logger().warning("waiting for postgres", reason=_reason(error))
            await asyncio.sleep(_RETRY_S)


async def _nothing_to_reset(_connection: object) -> None:
    """Our statements leave no session state behind: asyncpg's own reset would double the round trips."""
