"""What Postgres' client raises, as typed errors of the ledger's."""

import ssl

import asyncpg
import pytest

from services.billing.adapters.failures import store_errors
from shared.kernel.errors import DatabaseUnavailableError, InvalidRequestError, PlatformError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ssl.SSLCertVerificationError(1, "expired"), DatabaseUnavailableError),
        (asyncpg.ClientConfigurationError("no such root certificate"), DatabaseUnavailableError),
        (asyncpg.InvalidPasswordError("no"), DatabaseUnavailableError),
        (ConnectionResetError(), DatabaseUnavailableError),
        (asyncpg.DeadlockDetectedError("a circle"), DatabaseUnavailableError),
        (asyncpg.LockNotAvailableError("a lock_timeout"), DatabaseUnavailableError),
        (asyncpg.PostgresIOError("a disk that is broken"), DatabaseUnavailableError),
        (asyncpg.DiskFullError("no space"), DatabaseUnavailableError),
        (asyncpg.InvalidCatalogNameError("being restored"), DatabaseUnavailableError),
        (asyncpg.TransactionTimeoutError("too long"), DatabaseUnavailableError),
        (asyncpg.CheckViolationError("overdrawn"), InvalidRequestError),
        (ValueError("out of range"), InvalidRequestError),
    ],
)
def test_a_database_that_is_away_is_no_value_that_cannot_be_kept(
    raised: Exception, told: type[PlatformError]
) -> None:
    with pytest.raises(told), store_errors():
        raise raised
