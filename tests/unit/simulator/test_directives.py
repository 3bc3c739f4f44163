"""Directives are read exactly or refused."""

import pytest

from infra.simulator.directives import (
    Directives,
    UnknownDirectiveError,
    parse_directives,
    without_directives,
)

pytestmark = pytest.mark.unit


def test_a_prompt_without_directives_asks_for_nothing() -> None:
    assert parse_directives("Hello") == Directives()


def test_directives_combine_within_and_across_brackets() -> None:
    prompt = "[simulate status=429 retry_after=2] Hello [simulate latency_ms=5 no_usage tokens=7,5]"
    assert parse_directives(prompt) == Directives(
        status=429, retry_after=2, latency_ms=5, no_usage=True, tokens=(7, 5)
    )
    assert without_directives(prompt) == "Hello"


@pytest.mark.parametrize(
    "word", ["statuss=401", "status", "status=abc", "status=200", "tokens=7", "no_usage=1", "boom"]
)
def test_an_unknown_directive_is_refused(word: str) -> None:
    with pytest.raises(UnknownDirectiveError, match=word):
        parse_directives(f"[simulate {word}]")


@pytest.mark.parametrize(
    ("prompt", "chunks_min"),
    [("[simulate chunks=20]", 20), ("[simulate cut_after=3]", 4), ("[simulate chunks=2 stall_after=3]", 4)],
)
def test_an_answer_has_the_chunks_that_its_directives_need(prompt: str, chunks_min: int) -> None:
    assert parse_directives(prompt).chunks_min == chunks_min
