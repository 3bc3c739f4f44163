"""Keys that were revoked a moment ago."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from shared.kernel.errors import UserApiKeyInvalidError

_REMEMBERED_S: Final = 60.0
"""Well past the 30 s that a sealed key can be opened, or a cache may know it."""


class Revocations:
    """Credentials revoked lately: an answer with such a key may still be on its way. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._revoked: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._revoked)

    def add(self, credential_id: str) -> None:
        now = self._clock()
        while self._revoked and now - next(iter(self._revoked.values())) > _REMEMBERED_S:
            self._revoked.popitem(last=False)
        self._revoked[credential_id] = now
        self._revoked.move_to_end(credential_id)

    def check(self, credential_id: str) -> None:
        """Raise the error of a revoked key."""
        added = self._revoked.get(credential_id)
        if added is not None and self._clock() - added <= _REMEMBERED_S:
            raise key_revoked()


def key_revoked() -> UserApiKeyInvalidError:
    return UserApiKeyInvalidError("your key was revoked", detail="revoked")
