"""Cutting a key out of texts that come in pieces, as a stream brings them."""

from collections.abc import Hashable, Iterable, Iterator
from typing import Final

from services.inference.domain.generated import Text
from shared.kernel.secret import REDACTED

_HEAD_CHARS_MAX: Final = 16
_KEY_CHARS_MIN: Final = 16
"""Of a shorter key, a part that is enough to know it by would be as short as a word."""
_KEPT_CHARS_MAX: Final = 65_536
"""Of all of a stream's texts: a key may be 8,192 characters long, and gateways tell of any places."""


class SplitKey:
    """Of one stream. A key is known by its first half, 16 characters at most: those may be out by then."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._head = secret[: min(_HEAD_CHARS_MAX, len(secret) // 2)]
        self._is_watched = len(secret) >= _KEY_CHARS_MIN
        self._ends: dict[Hashable, str] = {}

    def cut(self, texts: Iterable[Text]) -> bool:
        """Cut what belongs to the key out of a piece's texts; say whether there was something."""
        if not self._is_watched:
            return False
        found = [self._cut(text) for text in texts]
        return any(found)

    def _cut(self, text: Text) -> bool:
        before = self._ends.get(text.place, "")
        window = before + text.text
        self._remember(text.place, window)
        if self._head not in window:
            return False
        parts, told = [], len(before)
        for begin, end in self._found(window):
            if end > told:
                is_first_known = begin + len(self._head) > len(before)
                parts += [window[told:begin], REDACTED if is_first_known else ""]
                told = end
        text.holder[text.name] = "".join(parts) + window[told:]
        return bool(parts)

    def _found(self, window: str) -> Iterator[tuple[int, int]]:
        """Yield where the key is, and where it may be going on."""
        end = 0
        while (begin := window.find(self._secret, end)) >= 0:
            end = begin + len(self._secret)
            yield begin, end
        begin = window.find(self._head, max(end, len(window) - len(self._secret) + 1))
        while begin >= 0 and not self._secret.startswith(window[begin:]):
            begin = window.find(self._head, begin + 1)
        if begin >= 0:
            yield begin, len(window)

    def _remember(self, place: Hashable, window: str) -> None:
        if len(self._ends) * len(self._secret) > _KEPT_CHARS_MAX:
            self._ends.clear()
        self._ends[place] = window[-len(self._secret) :]
