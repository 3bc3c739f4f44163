"""Tokens before the provider has counted them."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.domain.estimates import (
    completion_limit,
    completion_tokens_max,
    estimated_completion,
    prompt_size,
)
from shared.kernel.errors import InvalidRequestError

pytestmark = pytest.mark.unit

MODEL = "openai/gpt-4o"


def user(content: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def test_text_counts_by_its_bytes() -> None:
    body = user("x" * 3000)

    size = prompt_size(body)

    assert size.text_bytes == len(orjson.dumps(body))
    assert size.tokens_max(MODEL) > size.tokens_likely > 700


@pytest.mark.parametrize("text", ["\U00013000", "\U0001d400", "\u1200", "~", "\n"])
def test_a_hold_covers_a_token_for_every_byte(text: str) -> None:
    """Rare characters are told byte by byte: https://github.com/openai/tiktoken"""
    said = text * 1000

    assert prompt_size(user(said)).tokens_max(MODEL) >= len(said.encode())


def test_an_inline_image_counts_as_an_image_not_as_text() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}

    size = prompt_size(user([{"type": "text", "text": "what is it?"}, part]))

    assert size.images == 1
    assert size.text_bytes < 200
    assert 5_000 < size.tokens_max(MODEL) < 6_000


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o-mini", "openai/gpt-4o-mini-2024-07-18", "x/openai.GPT-4o-mini"]
)
def test_an_image_that_a_model_counts_dearer_is_held_dearer(model: str) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "high"}}
    size = prompt_size(user([image, image]))

    assert 2 * 48_169 < size.tokens_max(model) < 101_000
    assert size.tokens_max("openai/gpt-4o") < 11_000
    assert size.tokens_likely < 3_000


def test_a_linked_image_counts_as_well() -> None:
    part = {"type": "image_url", "image_url": "https://example.com/cat.png"}

    assert prompt_size(user([part, part])).images == 2


def test_audio_counts_by_its_length() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "A" * 20_000, "format": "mp3"}}

    size = prompt_size(user([part]))

    assert size.audio_chars == 20_000
    assert 100 < size.tokens_max(MODEL) < 350


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(-(2**31), 2**31),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_body_is_measured(anything: Any) -> None:
    for body in ({"messages": anything}, {"messages": [anything]}, user(anything), user([anything])):
        size = prompt_size(body)
        assert 0 < size.tokens_likely <= size.tokens_max(MODEL)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, 4096),
        ({"max_tokens": None, "n": None}, 4096),
        ({"max_tokens": 10}, 10),
        ({"max_completion_tokens": 10}, 10),
        ({"max_tokens": 10, "max_completion_tokens": 20}, 20),
        ({"max_tokens": 100_000}, 100_000),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"n": 2}, 8192),
    ],
)
def test_the_worst_case_of_a_completion(body: dict[str, Any], expected: int) -> None:
    assert completion_tokens_max(body, 4096) == expected


@pytest.mark.parametrize("value", ["5", 0, -1, 1.5, True, [1], 2**63])
def test_a_limit_that_is_no_number_is_refused(value: object) -> None:
    for name in ("max_tokens", "max_completion_tokens", "n"):
        with pytest.raises(InvalidRequestError, match=name):
            completion_tokens_max({name: value}, 4096)


def test_no_limit_is_none() -> None:
    assert completion_limit({}) is None


@pytest.mark.parametrize(("chars", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2)])
def test_generated_text_is_estimated(chars: int, tokens: int) -> None:
    assert estimated_completion(chars) == tokens
