"""What Postgres' failures are to the services, and what their logs tell of them."""

import errno
import ssl

import asyncpg
import pytest
from structlog.testing import capture_logs

from shared.kernel.errors import DatabaseUnavailableError
from shared.runtime.postgres import database_errors

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (asyncpg.DiskFullError("canary"), "DiskFullError"),
        (asyncpg.LockNotAvailableError("canary"), "LockNotAvailableError"),
        (OSError(errno.EMFILE, "canary"), "OSError EMFILE"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "canary"), "ConnectionRefusedError ECONNREFUSED"),
        (ssl.SSLCertVerificationError(1, "canary"), "SSLCertVerificationError"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_the_log_says_why_and_the_error_does_not(raised: Exception, reason: str) -> None:
    with capture_logs() as logs, pytest.raises(DatabaseUnavailableError) as told, database_errors():
        raise raised
    assert logs == [{"event": "the database failed", "log_level": "warning", "reason": reason}]
    assert "canary" not in repr(told.value)
    assert told.value.__cause__ is None


@pytest.mark.parametrize(
    ("raised", "retry_after_s"),
    [(asyncpg.DeadlockDetectedError("a circle"), 0.1), (asyncpg.TooManyConnectionsError("all"), 2)],
)
def test_what_was_rolled_back_for_others_may_be_tried_soon(raised: Exception, retry_after_s: float) -> None:
    with pytest.raises(DatabaseUnavailableError) as told, database_errors():
        raise raised
    assert told.value.retry_after_s == retry_after_s


@pytest.mark.parametrize("raised", [asyncpg.CheckViolationError("no"), asyncpg.PostgresSyntaxError("no")])
def test_what_is_the_statements_own_fault_stays_what_it_is(raised: Exception) -> None:
    with pytest.raises(type(raised)), database_errors():
        raise raised
