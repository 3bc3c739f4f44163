"""An answer as the runs API tells it."""

from collections.abc import Mapping

import orjson
import pytest

from services.api_edge.domain.run_call import RunKind
from services.api_edge.domain.transcript import NOT_JSON, Transcript
from shared.contracts.runs import RunChunk
from shared.kernel.errors import ProviderError
from shared.kernel.ids import new_id
from tests.fakes.api_edge_worker import RESPONSE, chunk

pytestmark = pytest.mark.unit

RUN = new_id()


def told(*texts: str, index: int = 0) -> RunChunk:
    return RunChunk(run_id=RUN, seq=0, chunks=texts, index=index)


def raw(delta: Mapping[str, object], **choice: object) -> str:
    return orjson.dumps({"choices": [{"index": 0, "delta": delta, **choice}]}).decode()


def test_every_chunk_that_says_something_is_an_event_by_its_place() -> None:
    transcript = Transcript(RunKind.STREAM)
    opening = raw({"role": "assistant", "content": ""})
    events = [*transcript.pieces(told(opening, chunk("Hel"))), *transcript.pieces(told(chunk("lo")))]
    assert [(event.number, event.name, event.data) for event in events] == [
        (2, "message_chunk", {"chunk": "Hel"}),
        (3, "message_chunk", {"chunk": "lo"}),
    ]
    assert transcript.response() == "Hello"
    assert transcript.last(1, "final_response", {}).number == 4


def test_what_is_no_text_is_told_as_the_provider_tells_it() -> None:
    call = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}
    (event,) = Transcript(RunKind.STREAM).pieces(told(raw(call)))
    assert event.data["chunk"] == ""
    assert event.data["choices"][0]["delta"] == call


def test_chunks_of_other_choices_are_not_mixed_in() -> None:
    transcript = Transcript(RunKind.STREAM)
    other = orjson.dumps({"choices": [{"index": 1, "delta": {"content": "other"}}]}).decode()
    (event,) = transcript.pieces(told(other))
    assert event.data["choices"][0]["index"] == 1
    assert transcript.response() == ""


def test_the_reason_why_it_ended_is_kept() -> None:
    transcript = Transcript(RunKind.STREAM)
    list(transcript.pieces(told(raw({}, finish_reason="length"), raw({}))))
    assert transcript.finish_reason == "length"


def test_a_whole_completion_is_read() -> None:
    transcript = Transcript(RunKind.TEXT)
    transcript.take(RESPONSE)
    assert transcript.finish_reason == "stop"
    assert transcript.message is not None
    assert transcript.response() == transcript.message["content"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '"x"', "null", '{"a": 1} and more', None])
def test_half_an_object_is_an_error(content: str | None) -> None:
    transcript = Transcript(RunKind.JSON)
    transcript.take(orjson.dumps({"choices": [{"message": {"content": content}}]}).decode())
    with pytest.raises(ProviderError) as refused:
        transcript.response()
    assert refused.value.detail == NOT_JSON


def test_an_object_is_an_object() -> None:
    transcript = Transcript(RunKind.JSON)
    transcript.take(orjson.dumps({"choices": [{"message": {"content": ' {"a": [1]} '}}]}).decode())
    assert transcript.response() == {"a": [1]}


@pytest.mark.parametrize("text", ["[]", '{"choices": 1}', '{"choices": [1]}', '{"choices": [{"delta": 1}]}'])
def test_a_chunk_of_any_shape_is_borne(text: str) -> None:
    assert list(Transcript(RunKind.STREAM).pieces(told(text))) == []


OUTPUT = [
    {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}]},
    {"type": "message", "content": [{"type": "output_text", "text": "Hello"}, {"type": "refusal"}]},
    {"type": "function_call", "name": "f", "arguments": "{}"},
]


def event(kind: str, **members: object) -> str:
    return orjson.dumps({"type": f"response.{kind}", **members}).decode()


def test_a_responses_texts_are_pieces_and_the_rest_as_the_provider_tells_it() -> None:
    transcript = Transcript(RunKind.CHAT)
    ended = {"status": "completed", "incomplete_details": None, "output": OUTPUT}
    told_events = [
        event("created", response={"output": []}),
        event("reasoning_text.delta", delta="Hm."),
        event("output_text.delta", delta="Hel"),
        event("output_text.delta", delta="lo"),
        event("output_text.done", text="Hello"),
        event("output_item.done", item=OUTPUT[1]),
        event("function_call_arguments.delta", delta="{}"),
        event("output_item.done", item=OUTPUT[2]),
        event("completed", response=ended),
    ]
    pieces = list(transcript.pieces(told(*told_events)))
    assert [(piece.number, piece.data["chunk"]) for piece in pieces] == [
        (2, ""),
        (3, "Hel"),
        (4, "lo"),
        (7, ""),
        (8, ""),
    ]
    assert pieces[-1].data["event"]["item"]["name"] == "f"
    assert (transcript.response(), transcript.finish_reason) == ("Hello", "completed")
    assert transcript.output == OUTPUT
    assert transcript.last(1, "final_response", {}).number == 10


def test_a_whole_response_is_read() -> None:
    transcript = Transcript(RunKind.CHAT)
    why = {"reason": "max_output_tokens"}
    whole = {"output": OUTPUT, "status": "incomplete", "incomplete_details": why}
    transcript.take(orjson.dumps(whole).decode())
    assert (transcript.response(), transcript.finish_reason) == ("Hello", "max_output_tokens")
    assert (transcript.output, transcript.message) == (OUTPUT, None)


def test_embeddings_are_the_answer() -> None:
    transcript = Transcript(RunKind.CHAT)
    vectors = [{"index": 0, "embedding": [0.1]}]
    transcript.take(orjson.dumps({"data": vectors}).decode())
    assert (transcript.response(), transcript.finish_reason, transcript.message) == (vectors, None, None)


@pytest.mark.parametrize(
    "text",
    [
        '{"type": 1}',
        '{"type": "response.completed"}',
        '{"type": "response.completed", "response": {"output": 1, "incomplete_details": 1, "status": 1}}',
        '{"type": "response.output_text.delta"}',
        '{"type": "response.output_text.delta", "delta": 1}',
    ],
)
def test_an_event_of_any_shape_is_borne(text: str) -> None:
    assert list(Transcript(RunKind.CHAT).pieces(told(text))) == []
