"""A message that came in pieces is the one that would have come whole."""

from typing import Any

import orjson
import pytest

from services.api_edge.domain.council import answer_of
from services.api_edge.domain.run_call import RunKind
from services.api_edge.domain.transcript import Transcript
from shared.contracts.runs import RunChunk
from shared.kernel.ids import new_id

pytestmark = pytest.mark.unit


def heard(*deltas: object, index: int = 0) -> Transcript:
    texts = [orjson.dumps({"choices": [{"index": index, "delta": delta}]}).decode() for delta in deltas]
    transcript = Transcript(RunKind.STREAM)
    list(transcript.pieces(RunChunk(run_id=new_id(), seq=0, chunks=tuple(texts), index=0)))
    return transcript


def calls(*deltas: object) -> Any:
    message = heard(*({"tool_calls": [delta]} for delta in deltas)).message
    assert message is not None
    return message["tool_calls"]


def test_words() -> None:
    transcript = heard({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {})
    assert transcript.message == {"role": "assistant", "content": "Hello"}


def test_a_refusal() -> None:
    transcript = heard({"role": "assistant", "content": None}, {"refusal": "I "}, {"refusal": "won't"})
    assert transcript.message == {"role": "assistant", "content": None, "refusal": "I won't"}
    assert answer_of("m", transcript).text == "I won't"


def test_calls_by_their_index() -> None:
    transcript = heard(
        {"role": "assistant", "content": None},
        {
            "tool_calls": [
                {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 1, "id": "b", "type": "custom", "custom": {"name": "g", "input": "in"}}]},
        {
            "tool_calls": [
                {"index": 0, "function": {"arguments": ": 1}"}},
                {"index": 1, "custom": {"input": "put"}},
            ]
        },
    )
    assert transcript.message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
            {"id": "b", "type": "custom", "custom": {"name": "g", "input": "input"}},
        ],
    }
    assert orjson.loads(answer_of("m", transcript).text) == transcript.message["tool_calls"]


def test_calls_of_one_index_are_told_apart_by_their_ids() -> None:
    message = heard(
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
        {"tool_calls": [{"index": 0, "id": "b", "function": {"name": "g", "arguments": '{"b"'}}]},
        {"tool_calls": [{"index": 0, "id": "b", "function": {"arguments": ": 2}"}}]},
    ).message
    assert message is not None
    told = [(call["id"], call["function"]["arguments"]) for call in message["tool_calls"]]
    assert told == [("a", '{"a": 1}'), ("b", '{"b": 2}')]


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    first, second = (
        {"id": "a", "function": {"name": "f", "arguments": "{"}},
        {"id": "b", "function": {"name": "g"}},
    )
    found = calls(first, {"function": {"arguments": "}"}}, second)
    assert [call["id"] for call in found] == ["a", "b"]
    assert found[0]["function"] == {"name": "f", "arguments": "{}"}


def test_what_is_told_twice_counts_once_and_what_else_is_told_stays() -> None:
    extra = {"google": {"thought_signature": "x"}}
    told = {"index": 0, "id": "a", "extra_content": extra, "function": {"name": "f", "arguments": "1"}}
    assert calls(told, told) == [
        {"id": "a", "extra_content": extra, "function": {"name": "f", "arguments": "11"}}
    ]


def test_a_function_call_as_it_was_once() -> None:
    message = heard(
        {"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}}
    ).message
    assert message is not None
    assert message["function_call"] == {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": "x"},
        {"tool_calls": ["x", None]},
        {"tool_calls": [{"function": "f", "index": "0"}]},
        {"tool_calls": [{"function": {"name": None, "arguments": 1}}]},
        {"role": 1, "content": 1, "refusal": [], "function_call": 2},
        "no object",
    ],
)
def test_nonsense_harms_nobody(delta: object) -> None:
    transcript = heard(delta, {"content": "Hi"})
    assert transcript.message is not None
    assert transcript.message["content"] == "Hi"


def test_of_another_answer_nothing_is_mixed_in() -> None:
    assert heard({"tool_calls": [{"id": "a"}]}, index=1).message is None
