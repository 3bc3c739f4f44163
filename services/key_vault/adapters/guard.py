"""Keeps a key that is in hand out of logs and exceptions."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.kernel.errors import InternalError, PlatformError
from shared.kernel.secret import SecretText
from shared.runtime.logs import get_logger, redacting


@contextmanager
def guarding(key: SecretText) -> Iterator[None]:
    """Mask the key in every log line; an unexpected exception is logged here, masked, and ends here.

    Raises InternalError in its place: what a library wrote into its message goes no further.
    """
    with redacting(key):
        try:
            yield
        except PlatformError:
            raise
        except Exception:  # noqa: BLE001
            get_logger().exception("failed with a key in hand")
            raise InternalError from None
