"""Which events were seen already: exactly, for any number of them, in little memory."""

import mmap
import tempfile
from hashlib import blake2b
from typing import Final

KEPT_MAX: Final = 100_000
_SIZE: Final = 16


class Seen:
    """Tells repeats by event id.

    Ids are UUIDv7, so they come nearly sorted: the newest stay in memory, the older half goes sorted into an
    unnamed temporary file whenever there are too many. An id above all that was put away, as nearly every new
    one is, needs no look at the files.
    """

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._kept: set[bytes] = set()
        self._runs: list[_SortedRun] = []
        self._put_away_max = b""

    def add(self, event_id: str) -> bool:
        """Return whether it is new."""
        key = _key(event_id)
        if key in self._kept or (key <= self._put_away_max and any(key in run for run in self._runs)):
            return False
        self._kept.add(key)
        if len(self._kept) > self._kept_max:
            self._put_away()
        return True

    def _put_away(self) -> None:
        ordered = sorted(self._kept)
        old, new = ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]
        self._runs.append(_SortedRun(old))
        self._put_away_max = max(self._put_away_max, old[-1])
        self._kept = set(new)


class _SortedRun:
    """Keys of one size in a file, in order."""

    def __init__(self, ordered: list[bytes]) -> None:
        self._first, self._last, self._count = ordered[0], ordered[-1], len(ordered)
        with tempfile.TemporaryFile(prefix="latchkey-seen-") as file:
            file.write(b"".join(ordered))
            file.flush()
            self._keys = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __contains__(self, key: bytes) -> bool:
        if not self._first <= key <= self._last:
            return False
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._keys[middle * _SIZE : (middle + 1) * _SIZE] < key:
                low = middle + 1
            else:
                high = middle
        return self._keys[low * _SIZE : (low + 1) * _SIZE] == key


def _key(event_id: str) -> bytes:
    try:
        key = bytes.fromhex(event_id.replace("-", ""))
    except ValueError:
        key = b""
    return key if len(key) == _SIZE else blake2b(event_id.encode(), digest_size=_SIZE).digest()
