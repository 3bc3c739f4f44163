"""Ask a key's provider what it says of the key."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from services.inference.ports import KeyChecker, KeyOpener
from shared.contracts.validation import KeyValidated, ValidateKey
from shared.kernel.errors import ServiceUnavailableError
from shared.kernel.names import INFERENCE

_AT_ONCE_MAX: Final = 32
"""Of one user's: half of what a worker has in hand. Addresses that never answer must not keep others out."""


class ValidateKeyUseCase:
    """Has an answer within `patience_s` in all, so that whoever asked still waits for it.

    `at_once_max`: how many of one user's keys are asked about at once.
    """

    def __init__(
        self,
        *,
        opener: KeyOpener,
        checker: KeyChecker,
        patience_s: float = 4.0,
        at_once_max: int = _AT_ONCE_MAX,
    ) -> None:
        self._opener = opener
        self._checker = checker
        self._patience_s = patience_s
        self._at_once_max = at_once_max
        self._at_once: Counter[str] = Counter()

    async def __call__(self, ask: ValidateKey) -> KeyValidated:
        """Raises `invalid_request` for an address that may not be called, `service_unavailable` for too many
        of one user's at once, and what key_vault refuses with.
        """
        with self._turn(ask.user_id):
            return await self._validated(ask)

    @contextmanager
    def _turn(self, user_id: str) -> Iterator[None]:
        if self._at_once[user_id] >= self._at_once_max:
            raise ServiceUnavailableError(
                "too many of your keys are being checked at once", service=INFERENCE, retry_after_s=1
            )
        self._at_once[user_id] += 1
        try:
            yield
        finally:
            self._at_once[user_id] -= 1
            self._at_once += Counter()  # forgets who has none

    async def _validated(self, ask: ValidateKey) -> KeyValidated:
        began = time.monotonic()
        key = await self._opener.open(ask, timeout_s=self._patience_s / 2)
        left_s = self._patience_s - (time.monotonic() - began)
        return KeyValidated(verdict=await self._checker.check(key, timeout_s=left_s))
