"""The chat in which a council's answers are made into one."""

from typing import Any

import pytest

from services.api_edge.domain.council import Answer, with_answers

pytestmark = pytest.mark.unit

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "2 + 2?"}], "temperature": 0.5}


@pytest.mark.parametrize(("chars_max", "room"), [(0, 2_000_000), (5_000_000, 2_000_000), (1_000, 1_000)])
@pytest.mark.parametrize("chars", [0, 30, 100, 700_000])
def test_the_answers_fit_always(chars_max: int, room: int, chars: int) -> None:
    answers = [Answer(f"openai/{number}", "x" * chars) for number in range(5)]
    chat = with_answers(BODY, answers, chars_max=chars_max)
    asked, told = chat["messages"]
    assert asked == BODY["messages"][0]
    assert len(told["content"]) <= room
    assert all(f"### openai/{number}\n" in told["content"] for number in range(5))
    assert ("[cut here" in told["content"]) == (chars * 5 + 500 > room)


def test_what_is_cut_keeps_its_beginning() -> None:
    told = with_answers(BODY, [Answer("openai/a", "begin" + "x" * 2_000)], chars_max=1_000)["messages"][-1]
    assert "### openai/a\nbeginx" in told["content"]
    assert told["content"].endswith("x\n[cut here: the answer was too long]")
    assert len(told["content"]) == 1_000
