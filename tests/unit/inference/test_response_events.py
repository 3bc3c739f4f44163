"""A chat's answer told as a Response: held to what OpenAI's SDK reads."""

from typing import Any

import pytest
from openai._models import construct_type
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from services.inference.domain.response_events import ResponseEvents, response_of
from services.inference.domain.response_object import empty_response
from shared.kernel.errors import ProviderError

pytestmark = pytest.mark.unit

USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 7,
    "total_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 4},
}


def begun(**asked: Any) -> dict[str, Any]:
    return empty_response("resp_1", asked, model="anthropic/m", created_at=1)


def chunk(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def call(index: int | None, arguments: str, **members: Any) -> dict[str, Any]:
    name = {"name": "f"} if "id" in members else {}
    place = {} if index is None else {"index": index}
    return {**place, **members, "function": {**name, "arguments": arguments}}


def told(*chunks: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all events, each of which is one that the SDK knows."""
    events = ResponseEvents(begun())
    all_events = [event for each in chunks for event in events.of(each)] + events.end()
    assert [event["sequence_number"] for event in all_events] == list(range(len(all_events)))
    for event in all_events:
        TypeAdapter(ResponseStreamEvent).validate_python(event)
    return all_events


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_stream_without_a_chunk_is_no_answer() -> None:
    with pytest.raises(ProviderError):
        ResponseEvents(begun()).end()


def test_a_text_is_told_as_openai_tells_it() -> None:
    events = told(
        chunk(role="assistant", content=""),
        chunk(content="Hel"),
        chunk(content="lo"),
        chunk("stop"),
        {"choices": [], "usage": USAGE},
    )
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    response = events[-1]["response"]
    assert (response["status"], response["model"], response["incomplete_details"]) == (
        "completed",
        "m-1",
        None,
    )
    assert response["output"] == [events[-2]["item"]]
    assert response["output"][0]["content"][0]["text"] == "Hello" == events[6]["text"]
    assert response["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 10,  # what the total has beyond, as with chats
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 20,
    }
    assert events[2]["item"]["content"] == []
    assert events[2]["item"]["status"] == "in_progress"


@pytest.mark.parametrize(
    ("reason", "told_reason"), [("length", "max_output_tokens"), ("content_filter",) * 2]
)
def test_an_answer_cut_short_is_incomplete(reason: str, told_reason: str) -> None:
    events = told(chunk(content="Hel"), chunk(reason))
    assert events[-1]["type"] == "response.incomplete"
    response = events[-1]["response"]
    assert response["incomplete_details"] == {"reason": told_reason}
    assert response["output"][0]["status"] == "incomplete"
    assert response["usage"] is None


def test_calls_are_told_after_what_was_reasoned_and_said() -> None:
    events = told(
        chunk(reasoning_content="Hm."),
        chunk(content="I look."),
        chunk(tool_calls=[call(0, "", id="a")]),
        chunk(tool_calls=[call(0, '{"x":')]),
        chunk(tool_calls=[call(1, "{}", id="b", extra_content={"google": {}})]),
        chunk(tool_calls=[call(0, "1}")]),
        chunk("tool_calls"),
    )
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert [item["status"] for item in output] == ["completed"] * 4
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert [(item["call_id"], item["name"], item["arguments"]) for item in output[2:]] == [
        ("a", "f", '{"x":1}'),
        ("b", "f", "{}"),
    ]
    assert output[3]["extra_content"] == {"google": {}}
    assert len({item["id"] for item in output}) == 4
    assert kinds(events)[-5:] == [
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


@pytest.mark.parametrize("index", [0, None])
def test_geminis_calls_share_an_index(index: int | None) -> None:
    events = told(
        chunk(tool_calls=[call(index, "1", id="a")]), chunk("stop", tool_calls=[call(index, "2", id="b")])
    )
    output = events[-1]["response"]["output"]
    assert [(item["call_id"], item["arguments"]) for item in output] == [("a", "1"), ("b", "2")]


def test_a_refusal_is_one() -> None:
    events = told(chunk(refusal="No."), chunk("stop"))
    assert kinds(events)[4:6] == ["refusal.delta", "refusal.done"]
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


@pytest.mark.parametrize("odd", [{}, {"choices": None}, {"choices": [None]}, {"choices": [{"index": 1}]}])
def test_what_says_nothing_tells_nothing(odd: dict[str, Any]) -> None:
    assert kinds(told(odd, odd, chunk("stop"))) == ["created", "in_progress", "completed"]


def test_a_whole_answer_is_the_response_that_its_stream_ends_with() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}] * 2
    calls[1] = {**calls[1], "id": "b"}
    message = {"role": "assistant", "content": "Hello", "refusal": None, "tool_calls": calls}
    completion = {
        "model": "m-1",
        "usage": USAGE,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
    }
    asked: dict[str, Any] = {
        "instructions": "Be short.",
        "temperature": 0.5,
        "text": {"verbosity": "low"},
        "reasoning": {"effort": "low"},
        "metadata": {"a": "b"},
    }
    whole = response_of(completion, begun(**asked))
    read = construct_type(value=whole, type_=Response)
    assert isinstance(read, Response)
    TypeAdapter(Response).validate_python(whole)
    assert read.output_text == "Hello"
    assert [item.type for item in read.output] == ["message", "function_call", "function_call"]
    assert (whole["instructions"], whole["temperature"], whole["metadata"]) == ("Be short.", 0.5, {"a": "b"})
    assert whole["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert whole["reasoning"] == {"effort": "low", "summary": None}
    assert whole["store"] is False
