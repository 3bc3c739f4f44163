"""A key that comes in pieces is cut where it is known for one, and nothing else is."""

import time

import pytest

from services.inference.domain.generated import Text
from services.inference.domain.split_key import SplitKey

pytestmark = pytest.mark.unit

KEY = "sk-proj-0123456789-abcdefghijklmnop"
HEAD = KEY[:16]


def told(split_key: SplitKey, piece: str, place: int = 0) -> str:
    holder = {"content": piece}
    split_key.cut([Text(place, holder, "content")])
    return holder["content"]


def streamed(text: str, size: int, secret: str = KEY) -> str:
    split_key = SplitKey(secret)
    return "".join(told(split_key, text[at : at + size]) for at in range(0, len(text), size))


@pytest.mark.parametrize("size", range(1, len(KEY) + 3))
@pytest.mark.parametrize("before", ["", "The key is ", "sk-proj-0123 sk-proj-"])
def test_however_it_is_cut_no_more_of_it_comes_out_than_it_takes_to_know_it(before: str, size: int) -> None:
    out = streamed(f"{before}{KEY}, and {KEY}.", size)
    assert out.startswith(before)
    assert out.endswith(".")
    assert ", and " in out
    assert out.count("[redacted]") == 2
    assert KEY[: len(HEAD) + 1] not in out
    assert KEY[-8:] not in out


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_what_only_begins_as_the_key_does_is_left_alone(size: int) -> None:
    text = f"{HEAD[:-1]}? A key begins with {HEAD[:12]}, as in {HEAD[:15]}xyz."
    assert streamed(text, size) == text


def test_each_text_of_a_stream_is_looked_at_by_itself() -> None:
    split_key = SplitKey(KEY)
    out: list[str] = ["", ""]
    for at in range(0, len(KEY), 5):
        for place in (0, 1):
            out[place] += told(split_key, KEY[at : at + 5], place)
    assert [text.count("[redacted]") for text in out] == [1, 1]
    assert KEY[-8:] not in "".join(out)


def test_a_key_as_short_as_a_word_is_not_looked_for() -> None:
    assert streamed("the word is secret-word.", 3, "secret-word") == "the word is secret-word."


@pytest.mark.parametrize("secret", [KEY, "k" * 8_192])
def test_who_tells_of_many_places_fills_no_memory(secret: str) -> None:
    split_key = SplitKey(secret)
    for place in range(10_000):
        told(split_key, "x" * len(secret), place)
    assert sum(map(len, split_key._ends.values())) <= 100_000


@pytest.mark.parametrize("piece", [HEAD + "~", KEY[:-1] + "~", KEY])
def test_a_piece_full_of_keys_or_beginnings_holds_nobody_up(piece: str) -> None:
    """Whoever has a gateway knows the key that goes there, and the whole worker waits meanwhile."""
    begun = time.perf_counter()
    out = told(SplitKey(KEY), piece * (4 * 1024 * 1024 // len(piece)))
    assert time.perf_counter() - begun < 1
    assert KEY not in out
