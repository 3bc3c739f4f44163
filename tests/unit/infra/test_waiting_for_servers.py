"""What is waited for, and what is not."""

import time

import pytest

from infra.bootstrap.http import wait_for
from infra.bootstrap.realm import BootstrapError, LoginRefusedError

pytestmark = pytest.mark.unit


class Server:
    """Answers with these errors, one after the other; then it is well."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    def __call__(self) -> None:
        if self._errors:
            raise self._errors.pop(0)


def test_a_server_that_starts_is_waited_for() -> None:
    errors = [OSError(), *[BootstrapError("starting")] * 3, LoginRefusedError("not yet")]
    wait_for("vault", Server(*errors), timeout_s=10, refused_s=0.2)  # which its start takes longer than


def test_a_login_that_stays_refused_is_not_waited_for() -> None:
    began = time.monotonic()
    with pytest.raises(LoginRefusedError):
        wait_for("vault", Server(*[LoginRefusedError("no")] * 100), timeout_s=60, refused_s=0.2)
    assert time.monotonic() - began < 10
