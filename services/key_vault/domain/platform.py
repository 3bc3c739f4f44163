"""The platform's keys: their ids, and taking turns."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from shared.kernel.names import KeyService, PlatformKeyState
from shared.kernel.secret import SecretText

PLATFORM_PREFIX: Final = "platform:"
_DIGEST_CHARS: Final = 12


@dataclass(frozen=True)
class PlatformPool:
    """`written_at`: when ops last wrote it; marks from before say nothing any more. `base_url`: a team
    gateway's.
    """

    keys: tuple[SecretText, ...] = ()
    base_url: str | None = None
    written_at: datetime | None = None


@dataclass(frozen=True)
class PlatformMark:
    """`until` with `cooling` only. `reason`: the error code that a run ended with."""

    credential_id: str
    service: KeyService
    state: PlatformKeyState
    until: datetime | None
    reason: str
    marked_at: datetime


@dataclass(frozen=True)
class PlatformKey:
    credential_id: str
    service: KeyService
    key: SecretText


def platform_key(service: KeyService, key: SecretText) -> PlatformKey:
    """Name a platform key by its digest: the same key has the same id wherever it stands in the pool."""
    digest = sha256(key.reveal().encode()).hexdigest()[:_DIGEST_CHARS]
    return PlatformKey(f"{PLATFORM_PREFIX}{service}:{digest}", service, key)


def next_in_turn(pool: Sequence[PlatformKey], excluding: Collection[str], turn: int) -> PlatformKey | None:
    """Return the pool's key for this turn (0, 1, 2, …) among those that have not failed."""
    usable = [candidate for candidate in pool if candidate.credential_id not in excluding]
    return usable[turn % len(usable)] if usable else None
