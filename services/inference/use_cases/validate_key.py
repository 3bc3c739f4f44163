"""Ask a key's provider what it says of the key."""

import time

from services.inference.ports import KeyChecker, KeyOpener
from shared.contracts.validation import KeyValidated, ValidateKey


class ValidateKeyUseCase:
    """Has an answer within `patience_s` in all, so that whoever asked still waits for it."""

    def __init__(self, *, opener: KeyOpener, checker: KeyChecker, patience_s: float = 4.0) -> None:
        self._opener = opener
        self._checker = checker
        self._patience_s = patience_s

    async def __call__(self, ask: ValidateKey) -> KeyValidated:
        """Raises `invalid_request` for an address that may not be called, and what key_vault refuses with."""
        began = time.monotonic()
        key = await self._opener.open(ask, timeout_s=self._patience_s / 2)
        left_s = self._patience_s - (time.monotonic() - began)
        return KeyValidated(verdict=await self._checker.check(key, timeout_s=left_s))
