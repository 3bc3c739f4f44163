"""What one process remembers of users' keys, so that a warm resolve asks neither Postgres nor Vault.

It forgets on its own after `_TTL_S`; whoever hears of a change, or can hear of none, makes it forget at once.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from services.key_vault.domain.credentials import OwnKeys, Place
from shared.kernel.secret import SecretText

_TTL_S: Final = 30.0
CHARS_MAX: Final = 50_000_000
_CHARS_OF_A_USER: Final = 1_000
_CHARS_OF_A_KEY: Final = 1_000
"""Beside the ciphertext and what it decrypts to."""
_STRIPES: Final = 1_024


@dataclass(frozen=True)
class Load:
    """A read under way: what it finds is remembered only if nothing was to be forgotten meanwhile."""

    user_id: str
    began_at: float
    generation: tuple[int, int]


@dataclass(frozen=True)
class _Entry:
    own: OwnKeys
    read_at: float
    chars: int
    keys: dict[tuple[Place, str], SecretText] = field(default_factory=dict)


class KeyMemory:
    """Off until it is turned on: then nothing is remembered, and nothing kept.

    `chars_max` bounds it by about as many bytes. `clock` gives seconds.
    """

    def __init__(self, *, chars_max: int = CHARS_MAX, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_on = False
        self._chars_max = chars_max
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._chars = 0
        self._generation = 0
        self._generations = [0] * _STRIPES

    # -- remembering --------------------------------------------------------------------------------------

    def own(self, user_id: str) -> OwnKeys | None:
        entry = self._entry(user_id)
        return entry.own if entry else None

    def key(self, ciphertext: str, place: Place) -> SecretText | None:
        """Return the key of exactly this ciphertext in exactly this place, its user's own."""
        entry = self._entry(place.user_id)
        return entry.keys.get((place, ciphertext)) if entry else None

    def begin(self, user_id: str) -> Load:
        """Call before reading what is to be remembered."""
        return Load(user_id, self._clock(), self._generation_of(user_id))

    def is_overtaken(self, load: Load) -> bool:
        """Say whether something was to be forgotten since it was begun."""
        return load.generation != self._generation_of(load.user_id)

    def remember(self, load: Load, own: OwnKeys) -> None:
        if not self._counts(load):
            return
        self._drop(load.user_id)
        chars = _CHARS_OF_A_USER + sum(_CHARS_OF_A_KEY + 2 * len(one.ciphertext) for one in own.credentials)
        if self._make_room(chars):
            self._entries[load.user_id] = _Entry(own, load.began_at, chars)
            self._chars += chars

    def remember_key(self, load: Load, ciphertext: str, place: Place, key: SecretText) -> None:
        """Remember the key of a credential that is remembered, as long as that is."""
        entry = self._entry(load.user_id) if self._counts(load) else None
        if entry and any((one.place, one.ciphertext) == (place, ciphertext) for one in entry.own.credentials):
            entry.keys[(place, ciphertext)] = key

    # -- forgetting ---------------------------------------------------------------------------------------

    def forget(self, user_id: str) -> None:
        self._generations[_stripe(user_id)] += 1
        self._drop(user_id)

    def forget_all(self) -> None:
        self._generation += 1
        self._entries.clear()
        self._chars = 0

    def forget_old(self) -> None:
        """Let go of what nobody asked for again. The oldest come first."""
        while self._entries:
            user_id, entry = next(iter(self._entries.items()))
            if self._clock() - entry.read_at < _TTL_S:
                return
            self._drop(user_id)

    def turn_on(self) -> None:
        if not self.is_on:
            self.forget_all()  # what was begun before does not count
            self.is_on = True

    def turn_off(self) -> None:
        self.is_on = False
        self.forget_all()

    # -- what there is ------------------------------------------------------------------------------------

    def age_s(self, user_id: str) -> float | None:
        entry = self._entry(user_id)
        return self._clock() - entry.read_at if entry else None

    def __len__(self) -> int:
        self.forget_old()
        return len(self._entries)

    def _entry(self, user_id: str) -> _Entry | None:
        entry = self._entries.get(user_id)
        if entry is None or self._clock() - entry.read_at < _TTL_S:
            return entry
        self._drop(user_id)
        return None

    def _drop(self, user_id: str) -> None:
        if entry := self._entries.pop(user_id, None):
            self._chars -= entry.chars

    def _make_room(self, chars: int) -> bool:
        """Let the longest remembered go first."""
        while self._entries and self._chars + chars > self._chars_max:
            self._drop(next(iter(self._entries)))
        return chars <= self._chars_max

    def _counts(self, load: Load) -> bool:
        return self.is_on and not self.is_overtaken(load)

    def _generation_of(self, user_id: str) -> tuple[int, int]:
        return self._generation, self._generations[_stripe(user_id)]


def _stripe(user_id: str) -> int:
    return hash(user_id) % _STRIPES
