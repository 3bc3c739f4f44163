"""The platform's keys: their ids, how they stand, and taking turns."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from shared.kernel.names import KeyService, PlatformKeyState
from shared.kernel.secret import SecretText

PLATFORM_PREFIX: Final = "platform:"
_DIGEST_CHARS: Final = 12
_ID: Final = re.compile(
    rf"{PLATFORM_PREFIX}(?P<service>{'|'.join(KeyService)}):[0-9a-f]{{{_DIGEST_CHARS}}}", re.ASCII
)


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
    """`mark`: what speaks against using it now."""

    credential_id: str
    service: KeyService
    key: SecretText
    mark: PlatformMark | None = None

    @property
    def state(self) -> PlatformKeyState:
        return self.mark.state if self.mark else PlatformKeyState.READY


@dataclass(frozen=True)
class PoolState:
    """A pool as it stands now. `turn` counts 0, 1, 2, …; `voided` are marks that its rewriting ended."""

    keys: tuple[PlatformKey, ...] = ()
    base_url: str | None = None
    turn: int = 0
    voided: tuple[PlatformMark, ...] = ()


def platform_key(service: KeyService, key: SecretText, mark: PlatformMark | None = None) -> PlatformKey:
    """Name a platform key by its digest: the same key has the same id wherever it stands in the pool."""
    digest = sha256(key.reveal().encode()).hexdigest()[:_DIGEST_CHARS]
    return PlatformKey(f"{PLATFORM_PREFIX}{service}:{digest}", service, key, mark)


def service_of(credential_id: str) -> KeyService | None:
    """Return whose key it is by its id; None when it is no platform key's."""
    match = _ID.fullmatch(credential_id)
    return KeyService(match["service"]) if match else None


def pool_state(
    service: KeyService, pool: PlatformPool, marks: Iterable[PlatformMark], *, now: datetime, turn: int
) -> PoolState:
    """Lay the marks upon the pool's keys, those that still say something."""
    named = [platform_key(service, key) for key in pool.keys]
    ids = {key.credential_id for key in named}
    own = [mark for mark in marks if mark.credential_id in ids]
    standing = {mark.credential_id: mark for mark in own if not _is_voided(mark, pool) and _holds(mark, now)}
    return PoolState(
        tuple(platform_key(service, key.key, standing.get(key.credential_id)) for key in named),
        pool.base_url,
        turn,
        tuple(mark for mark in own if _is_voided(mark, pool)),
    )


def next_in_turn(pool: PoolState, excluding: Collection[str]) -> PlatformKey | None:
    """Return the key whose turn it is among those that are ready and have not failed."""
    usable = [
        key for key in pool.keys if key.state is PlatformKeyState.READY and key.credential_id not in excluding
    ]
    return usable[pool.turn % len(usable)] if usable else None


def stronger(one: PlatformMark, other: PlatformMark) -> PlatformMark:
    """Return which of two marks of a key to keep: out before cooling, the later out, the longer cooling."""
    return max(one, other, key=_strength)


def _strength(mark: PlatformMark) -> tuple[bool, datetime]:
    return mark.state is PlatformKeyState.OUT, mark.until or mark.marked_at


def _is_voided(mark: PlatformMark, pool: PlatformPool) -> bool:
    return pool.written_at is not None and mark.marked_at < pool.written_at


def _holds(mark: PlatformMark, now: datetime) -> bool:
    return mark.until is None or mark.until > now
