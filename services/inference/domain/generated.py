"""Where in an answer, or in a piece of one, generated text stands."""

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, NamedTuple


class Text(NamedTuple):
    """`holder[name]` is a str. `place`: which of a stream's texts it adds to. `again`: another one
    has said the same, so that it is not counted.
    """

    place: Hashable
    holder: dict[str, Any]
    name: str
    again: bool = False

    @property
    def text(self) -> str:
        text: str = self.holder[self.name]
        return text


def texts_of(
    place: Hashable, holder: object, names: tuple[str, ...], *, again: bool = False
) -> Iterator[Text]:
    """Yield those of an object's members that are texts."""
    if isinstance(holder, dict):
        for name in names:
            if isinstance(holder.get(name), str):
                yield Text((place, name), holder, name, again)


def number_in(holder: dict[str, Any], name: str) -> int:
    """Return an index; 0 without one."""
    found = holder.get(name)
    return found if isinstance(found, int) else 0


def chars_in(texts: Iterable[Text]) -> int:
    return sum(len(text.text) for text in texts if not text.again)
